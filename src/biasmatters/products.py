"""Products of float32 are products of float32: on a GPU torch rounds their factors by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch


def full_products(device: torch.device) -> AbstractContextManager[None]:
    """Switch off the rounding of float32 products to TF32 alone, for a while.

    On a GPU torch rounds the factors of convolutions unless it is told otherwise. A rounded layer
    is no affine function of its input: the model would miss its own w . x + b by a thousandth.

    Args:
        device: Where the work is done.
    """
    return _full_products() if device.type == "cuda" else nullcontext()


@contextmanager
def _full_products() -> Iterator[None]:
    before = _rounding()
    try:
        for setting in before:
            setting.put(setting.exact)
        yield
    finally:
        for setting in before:
            setting.put(setting.value)


@dataclass(frozen=True)
class _Setting:
    """One of torch's switches.

    Attributes:
        value: As it is.
        exact: For products that are not rounded.
        put: Sets it.
    """

    value: object
    exact: object
    put: Callable[[Any], object]


def _rounding() -> list[_Setting]:
    """The older switches, where they can be read, and the newer ones, where there are any.

    Both are one state: torch refuses to read the older where the newer say something else, so it
    is the newer that are put back last.
    """
    backends, found = torch.backends, []
    with suppress(RuntimeError):
        value = torch.get_float32_matmul_precision()
        found.append(_Setting(value, "highest", torch.set_float32_matmul_precision))
    with suppress(RuntimeError):
        found.append(_of(backends.cudnn, "allow_tf32", exact=False))
    for part in (
        backends.cuda.matmul,
        *(getattr(backends.cudnn, n, None) for n in ("conv", "rnn")),
    ):
        with suppress(AttributeError):
            found.append(_of(part, "fp32_precision", exact="ieee"))
    return found


def _of(part: object, name: str, *, exact: object) -> _Setting:
    return _Setting(getattr(part, name), exact, partial(setattr, part, name))
