"""Going on by what mostly holds, and looking at whether it did afterwards, all at once.

Whether a tensor is finite, or whether bias is stranded, decides which way to go, and a device apart
from the host stands still each time it is asked. While `assuming`, the likely answer is taken and
the question noted; who began looks at the answers, and goes back if one of them is no.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from biasmatters.affine.device import read

Holds = Callable[..., bool]


class Assumptions:
    """What was taken to hold, and the numbers by which to tell whether it does.

    Args:
        look_ahead: Finds out at once what many will ask that cannot be taken to hold.
        none_stranded: Whether no bias is taken to be stranded; if not, all of it is handed on by
            the fallback without asking whether there is any.
    """

    def __init__(self, look_ahead: Callable[[], None], *, none_stranded: bool) -> None:
        self.look_ahead, self.none_stranded = look_ahead, none_stranded
        self._numbers: list[Tensor] = []
        self._tests: list[tuple[int, Holds]] = []

    def note(self, holds: Holds, *numbers: Tensor) -> None:
        """Take to hold what a function of numbers, each a tensor without axes, says of them."""
        self._numbers.extend(numbers)
        self._tests.append((len(numbers), holds))

    def finite(self, x: Tensor) -> None:
        """Take all entries to be finite; too large a sum says nothing and counts as a no."""
        narrow = x.dtype in (torch.float16, torch.bfloat16)
        self.note(math.isfinite, x.sum(dtype=torch.float32 if narrow else None))

    def zero(self, x: Tensor) -> None:
        """Take all entries to be 0."""
        self.note(lambda some: not some, x.any())

    def hold(self) -> bool:
        """Whether all of it holds, by one look at all numbers."""
        values = iter(read(self._numbers))
        return all(holds(*(next(values) for _ in range(count))) for count, holds in self._tests)


_noted: ContextVar[Assumptions | None] = ContextVar("_noted", default=None)
_careful: ContextVar[bool] = ContextVar("_careful", default=False)


def current() -> Assumptions | None:
    """Where to note what is taken to hold; None where it has to be looked at, at once."""
    return _noted.get()


def look_ahead() -> None:
    """Find out at once what many will ask, if there is anybody who knows what they will."""
    assumed = current()
    if assumed is not None:
        assumed.look_ahead()


@contextmanager
def assuming(
    look_ahead: Callable[[], None] = lambda: None, *, none_stranded: bool = True
) -> Iterator[Assumptions]:
    """Take things to hold for a while. What comes of it may be kept only if they do."""
    noted = Assumptions(look_ahead, none_stranded=none_stranded)
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


@contextmanager
def carefully() -> Iterator[None]:
    """Do everything once for a while, and take nothing to hold: somebody keeps count."""
    token = _careful.set(True)
    try:
        yield
    finally:
        _careful.reset(token)


def allowed() -> bool:
    """Whether something may be done that is done again if it did not hold."""
    return not _careful.get()
