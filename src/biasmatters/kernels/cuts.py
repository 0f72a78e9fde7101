"""Where the weight of a map of channels is 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled, run

# Numbers that are looked at together for whether any is 0.
BLOCK = 64


@dataclass(frozen=True)
class Cuts:
    """Where a weight ``(P, Q)`` is 0, in arrays of integers.

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
    weight: Any, counts: Any, firsts: Any, units: Any, channels: Any, missing: Any
) -> int:
    """List the zeros of each row that has any, and count those of columns; how many rows."""
    rows, found, zero = 0, 0, weight.dtype.type(0)
    for p in range(weight.shape[0]):
        if counts[p] == 0:
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
    return rows


def find_cuts(weight: Tensor) -> Cuts:
    """Where a weight ``(P, Q)`` is 0."""
    values = array(weight)
    everything, none = np.arange(len(values)), np.zeros(0, np.int64)
    counts = np.empty(len(values), np.int64)
    run(_count_zeros, len(values), values.size, values, counts)
    count = int(counts.sum())
    if not count:
        return Cuts(everything, none, np.zeros(1, np.int64), none, none)
    units, firsts = np.zeros(len(values), np.int64), np.zeros(len(values) + 1, np.int64)
    channels, missing = np.empty(count, np.int64), np.zeros(values.shape[1], np.int64)
    rows = _list_zeros(values, counts, firsts, units, channels, missing)
    dead = np.flatnonzero(missing == len(values))
    return Cuts(everything[counts == 0], units[:rows], firsts[: rows + 1], channels, dead)
