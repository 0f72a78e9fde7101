"""Whether compiled loops can be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

_wanted = ContextVar("_wanted", default=True)
FORMATS = (torch.float32, torch.float64)


@cache
def _installed() -> bool:
    return find_spec("numba") is not None


def available() -> bool:
    """Whether numba is installed and wanted."""
    return _wanted.get() and _installed()


def fit(*tensors: Tensor) -> bool:
    """Whether kernels can take tensors: of one format, on a processor, in torch's own order."""
    return available() and all(
        t.device.type == "cpu"
        and t.dtype in FORMATS
        and t.dtype == tensors[0].dtype
        and t.is_contiguous()
        and t.numel() > 0
        for t in tensors
    )


@contextmanager
def without_kernels() -> Iterator[None]:
    """Go by torch's operations alone for a while, as on a GPU or without numba."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)
