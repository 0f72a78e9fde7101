"""Where the weight of a map of channels is 0."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled, run

# Numbers that are looked at together for whether any is 0.
BLOCK = 64


class Cuts(NamedTuple):
    """Where a weight ``(P, Q)`` is 0, in arrays of integers, in the order in which loops take them.

    Attributes:
        whole: The units without zeros.
        units: Those with.
        firsts: ``(len(units) + 1,)`` where each one's begin among the channels.
        channels: Which channels they are cut off from, unit by unit.
        dead: Channels that no unit sees.
    """

    whole: Any
    units: Any
    firsts: Any
    channels: Any
    dead: Any


@compiled
def _zeros_in(row: Any) -> int:
    """How many there are."""
    zero, found = row.dtype.type(0), 0
    for q in range(len(row)):
        found += 1 if row[q] == zero else 0
    return found


@compiled
def _count_zeros(start: int, stop: int, weight: Any, counts: Any) -> None:
    """How many zeros each row has."""
    for p in range(start, stop):
        counts[p] = _zeros_in(weight[p])


@compiled
def _list_zeros(
    weight: Any, counts: Any, whole: Any, units: Any, firsts: Any, channels: Any, dead: Any
) -> tuple[int, int, int]:
    """List rows without zeros, those with, the zeros of these, and columns of nothing else.

    It says how many rows of the first kind there are, how many of the second, and how many columns.
    """
    wholes, rows, deads, found, zero = 0, 0, 0, 0, weight.dtype.type(0)
    missing = np.zeros(weight.shape[1], np.int64)
    firsts[0] = 0
    for p in range(weight.shape[0]):
        if counts[p] == 0:
            whole[wholes] = p
            wholes += 1
            continue
        row, end = weight[p], found + counts[p]
        for first in range(0, len(row), BLOCK):
            if found == end:
                break
            if _zeros_in(row[first : first + BLOCK]) == 0:
                continue
            for q in range(first, min(first + BLOCK, len(row))):
                if row[q] == zero:
                    channels[found] = q
                    missing[q] += 1
                    found += 1
        units[rows], firsts[rows + 1] = p, found
        rows += 1
    for q in range(len(missing)):
        if missing[q] == weight.shape[0]:
            dead[deads] = q
            deads += 1
    return wholes, rows, deads


def find_cuts(weight: Tensor) -> Cuts:
    """Where a weight ``(P, Q)`` is 0."""
    values = array(weight)
    height, width = values.shape
    counts = np.empty(height, np.int64)
    run(_count_zeros, height, values.size, values, counts)
    found = int(np.add.reduce(counts))
    if not found:
        return _without(height)
    whole, units, firsts, channels, dead = (
        np.empty(size, np.int64) for size in (height, height, height + 1, found, width)
    )
    wholes, rows, deads = _list_zeros(values, counts, whole, units, firsts, channels, dead)
    return Cuts(whole[:wholes], units[:rows], firsts[: rows + 1], channels, dead[:deads])


@lru_cache(maxsize=256)
def _without(height: int) -> Cuts:
    """No zeros at all; nobody may write to it."""
    none = np.zeros(0, np.int64)
    return Cuts(np.arange(height), none, np.zeros(1, np.int64), none, none)
