"""Whether compiled loops can be used."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from biasmatters.kernels.openmp import OPENMP

_wanted = ContextVar("_wanted", default=True)
# Torch's threads up to which one core, which memory keeps waiting anyway, is no slower.
FEW = 4
FORMATS = (torch.float32, torch.float64)
# Compute capability from which on Triton knows a GPU.
OLDEST = (7, 0)


@cache
def _installed() -> bool:
    """Whether numba can be loaded and may compile; one that does not fit numpy raises."""
    try:
        import numba
    except Exception:
        return False
    return not getattr(numba.config, "DISABLE_JIT", False)


def spinning() -> bool:
    """Whether torch's idle threads keep their cores busy."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"


def _alone() -> bool:
    """Whether a kernel on no thread of torch's has one core where its operations have many."""
    return spinning() and torch.get_num_threads() > FEW


def available() -> bool:
    """Whether numba is at hand and wanted, and not alone against many threads of torch's."""
    return _wanted.get() and (OPENMP.at_hand or not _alone()) and _installed()


def fit(*tensors: Tensor) -> bool:
    """Whether kernels can take tensors: of one format, on a processor, in torch's own order."""
    dtype = tensors[0].dtype
    if dtype not in FORMATS:
        return False
    for t in tensors:
        if not (t.is_cpu and t.dtype == dtype and t.is_contiguous() and t.numel()):
            return False
    return available()


@cache
def _runs_triton(device: torch.device) -> bool:
    """Whether the kernels run on a GPU: Triton needs a C compiler and room for what it compiles."""
    if find_spec("triton") is None or torch.cuda.get_device_capability(device) < OLDEST:
        return False
    try:
        from biasmatters.kernels import gpu_exponentials

        gpu_exponentials.try_out(device)
    except Exception as error:
        warnings.warn(
            f"The GPU's kernels do not run ({type(error).__name__}: {error}), so the softmax rules "
            "go by torch's operations, several times slower. Triton needs a C compiler (on Debian: "
            "apt-get install gcc) and a place to write to (TRITON_CACHE_DIR).",
            stacklevel=2,
        )
        return False
    return True


def fit_on_gpu(*tensors: Tensor) -> bool:
    """Whether a GPU's kernels can take tensors: all in float32 on one where they run."""
    alike = all(t.is_cuda and t.dtype == torch.float32 and t.numel() for t in tensors)
    return alike and _wanted.get() and _runs_triton(tensors[0].device)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Go by torch's operations alone for a while, as without numba, or on a GPU without Triton."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)
