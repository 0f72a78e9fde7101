"""Autograd's own graph, walked from a tensor towards its inputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def functions_behind(tensor: Tensor) -> list[Any]:
    """Every autograd function that a tensor was made by, each once, its own first."""
    found = [] if tensor.grad_fn is None else [tensor.grad_fn]
    seen = set(found)
    for function in found:  # it grows meanwhile
        for parent, _ in function.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                found.append(parent)
    return found
