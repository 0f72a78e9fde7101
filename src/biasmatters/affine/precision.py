"""Sums of shares are kept in the number format of their tensors, whatever the caller allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from biasmatters.products import full_products


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Switch autocast off, and on a GPU the rounding of float32 products to TF32, for a while.

    Args:
        device: Where the work is done.
    """
    if device.type != "cuda" and not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return _switched(device)


@contextmanager
def _switched(device: torch.device) -> Iterator[None]:
    autocast = torch.autocast(device.type, enabled=False)
    with full_products(device), autocast:
        yield


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Single precision in place of the half formats, whose range exponentials leave."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
