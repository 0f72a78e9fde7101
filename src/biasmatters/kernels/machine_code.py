"""Loops in machine code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from numba import njit
from torch import Tensor

from biasmatters.kernels.threads import side_by_side

Kernel = Callable[..., Any]
# Sums may be taken in any order; nan and infinity stay what they are. Division by 0 is theirs: to
# look for it and raise an error would end loops early, and such loops go number by number.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}


def compiled(function: Kernel) -> Kernel:
    """A loop in machine code, kept on disk for the next process if there is a place for it."""
    with suppress(RuntimeError):
        return cast(Kernel, njit(cache=True, **_OPTIONS)(function))
    return cast(Kernel, njit(**_OPTIONS)(function))


def planes(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N C, L)``."""
    return tensor.detach().reshape(tensor.shape[0] * tensor.shape[1], -1).numpy()


def stacks(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N, C, L)``."""
    return tensor.detach().reshape(*tensor.shape[:2], -1).numpy()


def run(kernel: Kernel, rows: int, numbers: int, *arguments: Any) -> None:
    """Run a kernel on all rows of its arguments, on some threads.

    Args:
        kernel: Takes the first row, the one after the last, and the arguments.
        rows: How many there are.
        numbers: How many numbers they are made of together.
        arguments: Arrays and numbers.
    """
    side_by_side(lambda start, stop: kernel(start, stop, *arguments), rows, numbers)
