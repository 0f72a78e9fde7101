"""Which form a rule took for a layer, written down while somebody listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from biasmatters.affine.speculation import carefully


@dataclass(frozen=True)
class Choice:
    """One form that was used for some connections of a layer.

    Attributes:
        form: ``expansion``, ``direct``, or another word of a rule's own.
        connections: How many it covered, over the whole batch.
        reach: R, the largest ``|e| / T`` of the layer, or None where it was not needed.
        rank: Products of an expansion, 0 without one.
        bound: What no kernel value of an expansion is off by, 0 for exact forms.
    """

    form: str
    connections: int
    reach: float | None = None
    rank: int = 0
    bound: float = 0.0


_listening: ContextVar[list[Choice] | None] = ContextVar("listening", default=None)


def note(choice: Choice) -> None:
    """Write a choice down if somebody listens."""
    journal = _listening.get()
    if journal is not None:
        journal.append(choice)


def listening() -> bool:
    """Whether choices are written down, so that counting for them is worth while."""
    return _listening.get() is not None


@contextmanager
def listen() -> Iterator[list[Choice]]:
    """Collect the choices that are made inside the block."""
    journal: list[Choice] = []
    token = _listening.set(journal)
    try:
        with carefully():
            yield journal
    finally:
        _listening.reset(token)
