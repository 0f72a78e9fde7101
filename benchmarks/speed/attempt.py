"""Work in this process with a time limit: what a GPU needs, whose context no fork inherits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TypeVar

from benchmarks.fork import Outcome, describe, late

Value = TypeVar("Value")


class _Late(BaseException):
    """The alarm; no handler of exceptions in between takes it for an error."""


def _ring(*_: object) -> None:
    raise _Late


def attempt(work: Callable[[], Value], seconds: float) -> Outcome[Value]:
    """Run some work in the main thread; a time-out and an exception are outcomes.

    Args:
        work: What to do. The limit acts between two of its Python instructions.
        seconds: After which it is ended.
    """
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return Outcome(work())
    except _Late:
        return Outcome(None, late(seconds))
    except Exception as error:  # every failure is an outcome
        return Outcome(None, describe(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
