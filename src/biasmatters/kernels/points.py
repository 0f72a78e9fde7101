"""Even shares in a map of channels at single places, whose weight has few zeros or none.

All units of a place count the same inputs, but for those that a zero weight cuts off. So one count
and one sum over the units stand for all, and the few cut connections are taken off one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import compiled, run, stacks
from biasmatters.kernels.shares import zeros

# Places that are worked on at a time, so that a sum over channels stays in the first cache.
SPAN = 1024


# Arrays are cut to single rows where they are used: of a cut through several, numba would not know
# that its numbers lie side by side.


@compiled
def _count(to_all: bool, x: Any, n: int, first: int, count: Any) -> None:
    """How many channels of each place count as inputs."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if to_all:
        count[:] = x.dtype.type(x.shape[1])
        return
    count[:] = zero
    for c in range(x.shape[1]):
        v = x[n, c, first : first + len(count)]
        for i in range(len(v)):
            count[i] += one if v[i] != zero else zero


@compiled
def _share(tau: Any, count: Any, share: Any) -> int:
    """Tau over the counts, and how many counts are 0."""
    zero, one = tau.dtype.type(0), tau.dtype.type(1)
    missed = 0
    for i in range(len(tau)):
        some = count[i] >= one
        missed += 0 if some else 1
        each = tau[i] / (count[i] if some else one)
        share[i] = each if some else zero
    return missed


@compiled
def _sum(tau: Any, units: Any, n: int, first: int, total: Any) -> None:
    """Of some units."""
    total[:] = tau.dtype.type(0)
    for p in range(len(units)):
        t = tau[n, units[p], first : first + len(total)]
        for i in range(len(t)):
            total[i] += t[i]


@compiled
def _give(to_all: bool, plane: Any, x: Any, n: int, first: int, beta: Any) -> None:
    """The same to every channel, where it counts as an input."""
    zero = x.dtype.type(0)
    for c in range(x.shape[1]):
        v, b = x[n, c, first : first + len(plane)], beta[n, c, first : first + len(plane)]
        if to_all:
            b[:] = plane
        else:
            for i in range(len(v)):
                b[i] = plane[i] if v[i] != zero else zero


@compiled
def _take(to_all: bool, amount: Any, x: Any, values: Any) -> None:
    """Less the amount, where x counts as an input."""
    zero = x.dtype.type(0)
    if to_all:
        for i in range(len(x)):
            values[i] -= amount[i]
    else:
        for i in range(len(x)):
            values[i] -= amount[i] if x[i] != zero else zero


@compiled
def _split(
    start: int, stop: int, spans: int, to_all: bool, x: Any, tau: Any, whole: Any, units: Any,
    firsts: Any, cut: Any, dead: Any, rooms: Any, beta: Any, missed: Any
) -> None:  # fmt: skip
    zero = x.dtype.type(0)
    ones = np.ones(SPAN, x.dtype)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        last = min(first + SPAN, x.shape[2])
        size = last - first
        # In the room: the count of inputs, what is handed out to all of them, and for each unit
        # with cut connections what it hands out to each of its own.
        count, plane = rooms[k, 0, :size], rooms[k, 1, :size]
        _count(to_all, x, n, first, count)
        _sum(tau, whole, n, first, plane)
        missed[k] = _share(plane, count, plane)
        for u in range(len(units)):
            mine = rooms[k, 2 + u, :size]
            mine[:] = count
            for j in range(firsts[u], firsts[u + 1]):
                _take(to_all, ones, x[n, cut[j], first:last], mine)
            missed[k] += _share(tau[n, units[u], first:last], mine, mine)
            for i in range(len(mine)):
                plane[i] += mine[i]
        _give(to_all, plane, x, n, first, beta)
        for u in range(len(units)):
            mine = rooms[k, 2 + u, :size]
            for j in range(firsts[u], firsts[u + 1]):
                _take(to_all, mine, x[n, cut[j], first:last], beta[n, cut[j], first:last])
        for c in dead:
            beta[n, c, first:last] = zero


@dataclass(frozen=True)
class Cuts:
    """Where a weight ``(P, Q)`` is 0.

    Attributes:
        whole: The units without zeros.
        units: Those with.
        firsts: ``(len(units) + 1,)`` where each one's begin among the channels.
        channels: Which channels they are cut off from, unit by unit.
        dead: Channels that no unit sees.
    """

    whole: Tensor
    units: Tensor
    firsts: Tensor
    channels: Tensor
    dead: Tensor


def find_cuts(weight: Tensor) -> Cuts:
    """Where a weight ``(P, Q)`` is 0."""
    by_row, by_column = zeros(weight.unsqueeze(2))
    whole, units = (by_row == 0).nonzero().squeeze(1), by_row.nonzero().squeeze(1)
    firsts = torch.zeros(len(units) + 1, dtype=torch.long)
    torch.cumsum(by_row[units], 0, out=firsts[1:])
    channels = (weight[units] == 0).nonzero()[:, 1].contiguous()
    dead = (by_column == len(weight)).nonzero().squeeze(1)
    return Cuts(whole, units, firsts, channels, dead)


def split(x: Tensor, tau: Tensor, cuts: Cuts, *, to_all: bool) -> tuple[Tensor, bool]:
    """Split tau evenly over each unit's inputs.

    Args:
        x: ``(N, Q, *space)``.
        tau: ``(N, P, *space)``.
        cuts: Of the weight.
        to_all: Whether inputs that are 0 get a share, too.

    Returns:
        Like x, and whether some units have no inputs.
    """
    beta, inputs = x.new_empty(x.shape), stacks(x)
    spans = -(-inputs.shape[2] // SPAN)
    missed = torch.zeros(len(x) * spans, dtype=torch.long)
    width = min(SPAN, inputs.shape[2])
    run(
        _split,
        len(x) * spans,
        x.numel() + tau.numel(),
        spans,
        to_all,
        inputs,
        stacks(tau),
        *(t.numpy() for t in (cuts.whole, cuts.units, cuts.firsts, cuts.channels, cuts.dead)),
        x.new_empty(len(missed), 2 + len(cuts.units), width).numpy(),
        stacks(beta),
        missed.numpy(),
    )
    return beta, bool(missed.any())
