"""Checkpointing within a model, which recomputes operations in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def recomputes() -> bool:
    """Whether a checkpoint of `torch.utils.checkpoint` is open."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)  # noqa: SLF001 - no public one
    return hooks is not None and "checkpoint" in getattr(hooks[0], "__module__", "")


@contextmanager
def without_recomputation() -> Iterator[None]:
    """Save what an operation needs for its derivative as usual, even inside a checkpoint.

    `torch.utils.checkpoint` (``use_reentrant=False``) saves nothing and runs its function again
    during the backward pass, where the tape no longer follows it. The engine keeps the operations'
    inputs in any case, so nothing is lost by saving them.
    """
    autograd, aside = torch._C._autograd, []  # noqa: SLF001
    while recomputes():
        aside.append(autograd._top_saved_tensors_default_hooks(True))  # noqa: SLF001
        autograd._pop_saved_tensors_default_hooks()  # noqa: SLF001
    try:
        yield
    finally:
        for hooks in reversed(aside):
            autograd._push_saved_tensors_default_hooks(*hooks)  # noqa: SLF001
