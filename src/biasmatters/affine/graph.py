"""Autograd's own graph, walked from a tensor towards its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def functions_behind(tensor: Tensor) -> Iterator[Any]:
    """Every autograd function that a tensor was made by, each once, its own first."""
    stack, seen = [tensor.grad_fn], set()
    while stack:
        function = stack.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        yield function
        stack.extend(parent for parent, _ in function.next_functions)
