"""Loops in machine code."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from numba import njit
from torch import Tensor

from biasmatters.kernels.openmp import OPENMP
from biasmatters.kernels.threads import side_by_side

Kernel = Callable[..., Any]
# Sums may be taken in any order; nan and infinity stay what they are. Division by 0 is theirs: to
# look for it and raise an error would end loops early, and such loops go number by number.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}
# Numbers for each of torch's threads below which waking it up takes longer than what it saves.
LEAST = 1 << 17
# Ranges for each thread.
TURNS = 4


def compiled(function: Kernel) -> Kernel:
    """A loop in machine code, kept on disk for the next process if there is a place for it."""
    with suppress(RuntimeError):
        return cast(Kernel, njit(cache=True, **_OPTIONS)(function))
    return cast(Kernel, njit(**_OPTIONS)(function))


def _template(rows: int, step: int, threads: int, *arguments: Any) -> Any:
    return in_turns(kernel, (rows, step, threads), arguments)  # type: ignore[name-defined]  # noqa: F821


@cache
def _version(module: ModuleType) -> str:
    """A short name for the text of a module."""
    return hashlib.blake2b(inspect.getsource(module).encode(), digest_size=6).hexdigest()


@cache
def _together(kernel: Any) -> Kernel:
    """A kernel in turns on torch's threads: of rows, rows at a time, threads and its arguments.

    It is made as if it stood in the kernel's place, so that numba keeps both on disk side by side;
    by its name, if what it is made with changes, it is made again.
    """
    from biasmatters.kernels import team

    origin, name = kernel.py_func.__code__, f"{kernel.py_func.__name__}_{_version(team)}"
    place = {"co_filename": origin.co_filename, "co_firstlineno": origin.co_firstlineno}
    names = {"__name__": kernel.py_func.__module__, "kernel": kernel, "in_turns": team.in_turns}
    code = _template.__code__.replace(co_name=name, co_qualname=name, **place)
    return compiled(FunctionType(code, names, name))


def _in_turns(kernel: Kernel, rows: int, threads: int, arguments: tuple[Any, ...]) -> bool:
    """Run a kernel on torch's threads; whether that could be done.

    It is built on parts of numba that may change. Where they do not fit, nothing was run yet.
    """
    OPENMP.used |= threads > 1
    step = -(-rows // (TURNS * threads)) if threads > 1 else rows
    try:
        failed = _together(kernel)(rows, step, threads, *arguments)
    except Exception as error:
        OPENMP.at_hand = False
        warnings.warn(
            f"Kernels cannot run on torch's threads ({type(error).__name__}: {error}), so they "
            "start threads of their own. Another version of numba may help.",
            stacklevel=2,
        )
        return False
    if failed:
        raise MemoryError(
            f"{kernel.__name__} failed on {rows} rows, most likely for want of memory."
        )
    return True


# Numpy makes a view in less time than torch.


def array(tensor: Tensor) -> Any:
    """A tensor as an array, whether it requires grad or not."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def planes(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N C, L)``."""
    values = array(tensor)
    return values.reshape(values.shape[0] * values.shape[1], -1)


def stacks(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N, C, L)``."""
    values = array(tensor)
    return values.reshape(*values.shape[:2], -1)


def summed(values: Any, axis: int) -> Tensor:
    """Sums along an axis of an array, in which too large numbers are infinite as torch's are."""
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.add.reduce(values, axis))


def run(kernel: Kernel, rows: int, numbers: int, *arguments: Any) -> None:
    """Run a kernel on all rows of its arguments, on some threads.

    Args:
        kernel: Takes the first row, the one after the last, and the arguments.
        rows: How many there are.
        numbers: How many numbers they are made of together.
        arguments: Arrays and numbers.

    Raises:
        MemoryError: The kernel found no memory for what it keeps meanwhile.
    """
    threads = max(1, min(torch.get_num_threads(), rows, numbers // LEAST))
    # On one thread as well: there, too, arrays need not count references.
    if OPENMP.at_hand and _in_turns(kernel, rows, threads, arguments):
        return
    side_by_side(lambda start, stop: kernel(start, stop, *arguments), rows, numbers)
