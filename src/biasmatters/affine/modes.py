"""Torch's modes of the moment, which the caller may have set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def without_gradients() -> AbstractContextManager[None]:
    """Make tensors that require no grad for a while, and none of inference mode."""
    # Asking for the mode takes less time than leaving it.
    return _outside_inference() if torch.is_inference_mode_enabled() else torch.no_grad()


@contextmanager
def _outside_inference() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield
