"""Products of float32 are products of float32: on a GPU torch rounds their factors by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from threading import Lock
from typing import Any

import torch

EXACT = ("ieee", "none")
Undo = Callable[[], object]


def full_products(device: torch.device) -> AbstractContextManager[None]:
    """Switch off the rounding of float32 products to TF32 alone, for a while.

    On a GPU torch rounds the factors of convolutions unless it is told otherwise. A rounded layer
    is no affine function of its input: the model would miss its own w . x + b by a thousandth.
    The switches are those of the process: while one thread is here, no other's products are
    rounded.

    Args:
        device: Where the work is done.
    """
    return _FULL.held() if device.type == "cuda" else nullcontext()


class _Full:
    """Rounding is off while anybody is here; the first switches it off, the last on again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._undo: list[Undo] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._undo = _switch_off()
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                while not self._inside and self._undo:
                    self._undo.pop()()


_FULL = _Full()


def _switch_off() -> list[Undo]:
    """Switch rounding off; what puts the switches back, to be done from the last on.

    Of the newer switches some rule over others that say nothing themselves. Those above go first,
    and what follows them is left to do so.
    """
    undo: list[Undo] = []
    backends: Any = torch.backends
    matmul, cudnn = backends.cuda.matmul, backends.cudnn
    if not hasattr(cudnn, "conv"):
        for part in (matmul, cudnn):
            undo.append(partial(setattr, part, "allow_tf32", part.allow_tf32))
            part.allow_tf32 = False
        return undo
    with suppress(RuntimeError):  # it cannot be read where newer switches say something else
        before = torch.get_float32_matmul_precision()
        if before != "highest":
            undo.append(partial(torch.set_float32_matmul_precision, before))
            torch.set_float32_matmul_precision("highest")
    leaves = (matmul, cudnn.conv, cudnn.rnn)
    for part, over in (
        (backends, (backends,)),
        (cudnn, leaves),
        *((p, (p,)) for p in leaves),
    ):
        if any(below.fp32_precision not in EXACT for below in over):
            undo.append(partial(setattr, part, "fp32_precision", part.fp32_precision))
            part.fp32_precision = "ieee"
    return undo
