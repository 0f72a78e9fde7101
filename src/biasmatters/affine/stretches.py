"""The walk on a device apart from the host, which is asked once in many steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from biasmatters.affine import speculation
from biasmatters.affine.chain import Link
from biasmatters.affine.maps.ahead import look_for_holes, with_coefficients
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.step import Step
from biasmatters.affine.walked import Walked

# Steps that are walked before what was taken to hold is looked at, and how often that may not have
# held, even with bias stranded, before it is asked step by step.
STRETCH, FAILURES = 40, 2


def by_stretches(todo: list[Step | Link | None], done: Walked) -> Walked:
    """Walk some steps by what mostly holds, and look afterwards; again with care where it did not.

    Args:
        todo: The steps, from which those that are done are taken off.
        done: How far the walk has come; after one that mostly fails, the rest is left to do.
    """
    maps: list[ConvMap | DenseMap] = []
    with suppress(Exception):  # only what is raised with care is an error
        makers = (s.form.maker for s in todo if isinstance(s, Step))
        maps += with_coefficients(maker() for maker in makers if maker is not None)

    def look_ahead() -> None:
        look_for_holes(maps)
        maps.clear()

    failures, none_stranded = 0, True
    while todo and failures < FAILURES:
        first = max(len(todo) - STRETCH, 0)
        stretch = [(todo[number], number) for number in reversed(range(first, len(todo)))]
        how = speculation.assuming(look_ahead, none_stranded=none_stranded)
        trial = _tried(done.copy(), stretch, how)
        if trial is not None:
            done = trial
        elif none_stranded:
            none_stranded = False  # what strands bias in one layer mostly does in the next
            continue
        else:
            failures += 1
            done.take_all(stretch)
        del todo[first:], trial, stretch
    return done


def _tried(
    trial: Walked,
    stretch: Sequence[tuple[Step | Link | None, int]],
    how: AbstractContextManager[speculation.Assumptions],
) -> Walked | None:
    """A walk after some steps by what mostly holds; None if it did not, or one could not go on."""
    # Only what is raised with care is an error.
    with suppress(Exception), how as assumed:
        trial.take_all(stretch)
        return trial if assumed.hold() else None
    return None
