"""Even shares in a map of channels at single places, whose weight has few zeros or none.

All units of a place count the same inputs, but for those that a zero weight cuts off. So one count
and one sum over the units stand for all, and the few cut connections are taken off one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.cuts import Cuts
from biasmatters.kernels.machine_code import (
    any_in,
    array,
    blank,
    compiled,
    run,
    stacks,
    summed,
)

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
    firsts: Any, cut: Any, dead: Any, beta: Any, missed: Any
) -> None:  # fmt: skip
    zero = x.dtype.type(0)
    ones, rooms = np.ones(SPAN, x.dtype), np.empty((2 + len(units), SPAN), x.dtype)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        last = min(first + SPAN, x.shape[2])
        size = last - first
        # In the room: the count of inputs, what is handed out to all of them, and for each unit
        # with cut connections what it hands out to each of its own.
        count, plane = rooms[0, :size], rooms[1, :size]
        _count(to_all, x, n, first, count)
        _sum(tau, whole, n, first, plane)
        missed[k] = _share(plane, count, plane)
        for u in range(len(units)):
            mine = rooms[2 + u, :size]
            mine[:] = count
            for j in range(firsts[u], firsts[u + 1]):
                _take(to_all, ones, x[n, cut[j], first:last], mine)
            missed[k] += _share(tau[n, units[u], first:last], mine, mine)
            for i in range(len(mine)):
                plane[i] += mine[i]
        _give(to_all, plane, x, n, first, beta)
        for u in range(len(units)):
            mine = rooms[2 + u, :size]
            for j in range(firsts[u], firsts[u + 1]):
                _take(to_all, mine, x[n, cut[j], first:last], beta[n, cut[j], first:last])
        for c in dead:
            beta[n, c, first:last] = zero


@compiled
def _bend(beta: Any, grad: Any, y: Any, constant: Any, bounds: Any, passed: Any, held: Any) -> Any:
    """Add up bias that goes on below a bend, and what is kept at a bound, whose size returns."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    size = zero
    for i in range(len(y)):
        inside = one if (y[i] > low) & (y[i] < high) else zero
        h = at_low if y[i] <= low else (at_high if y[i] >= high else zero)
        total = beta[i] + grad[i] * (constant * inside + h)
        passed[i] += total * inside
        held[i] += total * (one - inside)
        size += abs(total) * (one - inside)
    return size


@compiled
def _size_without(beta: Any, grad: Any, y: Any, constant: Any, bounds: Any, count: Any) -> Any:
    """The size of the bias that goes on below a bend where there is no input."""
    low, high, zero, one = bounds[0], bounds[1], y.dtype.type(0), y.dtype.type(1)
    size = zero
    for i in range(len(y)):
        inside = one if (y[i] > low) & (y[i] < high) & (count[i] < one) else zero
        size += abs(beta[i] + grad[i] * constant) * inside
    return size


@compiled
def _some_without(count: Any) -> bool:
    """Whether a place has no input."""
    least = count[0]
    for i in range(len(count)):
        least = min(least, count[i])
    return bool(least < count.dtype.type(1))


@compiled
def _settle(count: Any, everything: Any, passed: Any, held: Any) -> Any:
    """Sums as shares of each input; what has no input at all."""
    zero, one = count.dtype.type(0), count.dtype.type(1)
    lost = zero
    for i in range(len(count)):
        some = count[i] >= one
        over = held[i] + (zero if some else passed[i])
        passed[i] = (passed[i] if some else zero) / (count[i] if some else one)
        held[i] = over / max(everything, one)
        lost += zero if everything >= one else over
    return lost


@compiled
def _cut_off(cut: Any, x: Any, n: int, first: int, sign: Any, seen: Any) -> None:
    """Count the inputs among channels that a unit does not see, or no longer."""
    one, zero, last = x.dtype.type(1), x.dtype.type(0), first + len(seen)
    for c in cut:
        v = x[n, c, first:last]
        for i in range(len(seen)):
            seen[i] += sign * (one if v[i] != zero else zero)


@compiled
def _take_back(cut: Any, mine: Any, x: Any, n: int, first: int, last: int, beta: Any) -> None:
    """What a unit does not hand to channels that it does not see."""
    share, rest = mine[0], mine[1]
    for c in cut:
        v, b = x[n, c, first:last], beta[n, c, first:last]
        for i in range(len(b)):
            b[i] -= rest[i] + (share[i] if v[i] != 0 else x.dtype.type(0))


@compiled
def _split_bent(
    start: int, stop: int, spans: int, x: Any, above: Any, grad: Any, y: Any, shift: Any,
    bounds: Any, whole: Any, units: Any, firsts: Any, cut: Any, dead: Any, beta: Any, mass: Any,
    lost: Any
) -> None:  # fmt: skip
    zero, one, count = x.dtype.type(0), x.dtype.type(1), np.empty(SPAN, x.dtype)
    rooms = np.empty((1 + len(units), 2, SPAN), x.dtype)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        last = min(first + SPAN, x.shape[2])
        # In the room: the sums over units that see every channel, then those of each other one.
        seen, passed, held = count[: last - first], rooms[0, 0], rooms[0, 1]
        _count(False, x, n, first, seen)
        rooms[:] = zero
        mass[k] = zero
        for p in whole:
            b, g, v = above[n, p, first:last], grad[n, p, first:last], y[n, p, first:last]
            mass[k] += _bend(b, g, v, shift[p], bounds, passed, held)
        if _some_without(seen):
            for p in whole:
                b, g, v = above[n, p, first:last], grad[n, p, first:last], y[n, p, first:last]
                mass[k] += _size_without(b, g, v, shift[p], bounds, seen)
        lost[k] = _settle(seen, x.dtype.type(x.shape[1]), passed, held)
        for u in range(len(units)):
            p, mine, missing = units[u], rooms[1 + u], cut[firsts[u] : firsts[u + 1]]
            b, g, v = above[n, p, first:last], grad[n, p, first:last], y[n, p, first:last]
            mass[k] += _bend(b, g, v, shift[p], bounds, mine[0], mine[1])
            _cut_off(missing, x, n, first, -one, seen)
            mass[k] += _size_without(b, g, v, shift[p], bounds, seen)
            reach = x.dtype.type(x.shape[1] - len(missing))
            lost[k] += _settle(seen, reach, mine[0], mine[1])
            _cut_off(missing, x, n, first, one, seen)
            for i in range(len(seen)):
                passed[i] += mine[0, i]
                held[i] += mine[1, i]
        _give_both(passed, held, x, n, first, last, beta)
        for u in range(len(units)):
            missing = cut[firsts[u] : firsts[u + 1]]
            _take_back(missing, rooms[1 + u], x, n, first, last, beta)
        for c in dead:
            beta[n, c, first:last] = zero


@compiled
def _give_both(share: Any, rest: Any, x: Any, n: int, first: int, last: int, beta: Any) -> None:
    """To every channel what goes to all, and where it counts as an input its share."""
    zero = x.dtype.type(0)
    for c in range(x.shape[1]):
        v, b = x[n, c, first:last], beta[n, c, first:last]
        for i in range(len(b)):
            b[i] = rest[i] + (share[i] if v[i] != zero else zero)


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
    beta, inputs = blank(x), stacks(x)
    spans = -(-inputs.shape[2] // SPAN)
    missed = torch.zeros(len(x) * spans, dtype=torch.long)
    run(
        _split,
        len(x) * spans,
        x.numel() + tau.numel(),
        spans,
        to_all,
        inputs,
        stacks(tau),
        *cuts,
        stacks(beta),
        missed.numpy(),
    )
    return beta, bool(missed.any())


def split_bent(
    x: Tensor, bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], cuts: Cuts
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Split the bias below a bend, and hand what units without any input have to all in reach.

    Args:
        x: As in `split`.
        bent: As in `biasmatters.kernels.bends.carry`: beta, grad, y, shift and bounds.
        cuts: As in `split`.

    Returns:
        Like x; the size of the bias that went evenly to all, ``(N,)``; and the sum of what has no
        input in reach at all, likewise, None for nothing.
    """
    beta, inputs = blank(x), stacks(x)
    spans = -(-inputs.shape[2] // SPAN)
    mass, lost = np.empty((2, len(x), spans), inputs.dtype)
    above, grad, y, shift, bounds = bent
    run(
        _split_bent,
        len(x) * spans,
        2 * (x.numel() + y.numel()),
        spans,
        inputs,
        *(stacks(t) for t in (above, grad, y)),
        *(array(t) for t in (shift, bounds)),
        *cuts,
        stacks(beta),
        mass.reshape(-1),
        lost.reshape(-1),
    )
    some_lost = len(cuts.units) and any_in(lost)
    orphans = summed(lost, 1) if some_lost else None
    return beta, summed(mass, 1), orphans
