"""Torch's modes of the moment, which the caller may have set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def without_gradients() -> AbstractContextManager[None]:
    """Make tensors that require no grad for a while, and none of inference mode."""
    # Asking for the mode takes less time than leaving it.
    return _outside_inference() if torch.is_inference_mode_enabled() else torch.no_grad()


def with_gradients() -> AbstractContextManager[None]:
    """Make tensors that may require grad for a while, likewise."""
    inference = torch.is_inference_mode_enabled()
    return _outside_inference(grad=True) if inference else torch.enable_grad()


@contextmanager
def _outside_inference(*, grad: bool = False) -> Iterator[None]:
    with torch.inference_mode(False), torch.set_grad_enabled(grad):
        yield
