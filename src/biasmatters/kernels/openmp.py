"""The OpenMP library that torch computes with."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch


def torch_library() -> str:
    """The file of torch's operations on a processor, which brings all that it was linked with."""
    ending = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    return str(Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{ending}")


def _find() -> int | None:
    """Address of ``GOMP_parallel``, None without one.

    GNU's library has it, and LLVM's and Intel's under the same name for its sake. It is asked for
    in what torch was linked with: another copy of the library would have threads of its own.
    """
    try:
        found = ctypes.CDLL(torch_library()).GOMP_parallel
    except (OSError, AttributeError):
        return None
    return ctypes.cast(found, ctypes.c_void_p).value


class OpenMP:
    """Torch's own.

    Attributes:
        address: Of ``GOMP_parallel``, None where there is none.
        at_hand: Whether it can be called.
        used: Whether it was, in this process. A child that is forked from then on has none of the
            threads that the library waits for, and may not call it.
    """

    def __init__(self) -> None:
        self.address = _find()
        self.at_hand = self.address is not None
        self.used = False
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        self.at_hand = self.at_hand and not self.used


OPENMP = OpenMP()
