"""Sums of shares are kept in the number format of their tensors, whatever the caller allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast off, and on a GPU the rounding of float32 products to TF32, for a while.

    Args:
        device: Where the work is done.
    """
    autocast = torch.is_autocast_enabled(device.type)
    with _full_products() if device.type == "cuda" else nullcontext():
        if not autocast:
            yield
            return
        with torch.autocast(device.type, enabled=False):
            yield


@contextmanager
def _full_products() -> Iterator[None]:
    products = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Single precision in place of the half formats, whose range exponentials leave."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
