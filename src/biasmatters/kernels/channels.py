"""Sums over channels, and back, without a mask in between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import Task, blank, compiled, run, run_all, stacks

# Places of a plane that are added up at a time, so that they stay in the first cache.
SPAN = 2048


@compiled
def _count(start: int, stop: int, spans: int, x: Any, out: Any) -> None:
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        total = out[n, first : first + SPAN]
        total[:] = zero
        for c in range(x.shape[1]):
            v = x[n, c, first : first + SPAN]
            for i in range(len(total)):
                total[i] += one if v[i] != zero else zero


@compiled
def _sum(start: int, stop: int, spans: int, x: Any, out: Any) -> None:
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        total = out[n, first : first + SPAN]
        total[:] = x.dtype.type(0)
        for c in range(x.shape[1]):
            v = x[n, c, first : first + SPAN]
            for i in range(len(total)):
                total[i] += v[i]


@compiled
def _sum_bent(
    units: Any, beta: Any, grad: Any, y: Any, shift: Any, bounds: Any, n: int, first: int,
    sums: Any
) -> Any:  # fmt: skip
    """Sums over units of a stretch of places; and of the sizes of what holds a bound."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    last = min(first + SPAN, y.shape[2])
    passed, held, size = sums[0, n, first:last], sums[1, n, first:last], zero
    passed[:], held[:] = zero, zero
    for c in units:
        b, g, v = beta[n, c, first:last], grad[n, c, first:last], y[n, c, first:last]
        constant = shift[c]
        for i in range(len(v)):
            inside = one if (v[i] > low) & (v[i] < high) else zero
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            total = b[i] + g[i] * (constant * inside + h)
            passed[i] += total * inside
            held[i] += total * (one - inside)
            size += abs(total) * (one - inside)
    return size


@compiled
def _sum_both(
    start: int, stop: int, spans: int, above: int, units: Any, beta: Any, grad: Any, y: Any,
    shift: Any, bounds: Any, x: Any, sums: Any, mass: Any, counts: Any
) -> None:  # fmt: skip
    for k in range(start, stop):
        if k < len(mass):
            n, first = k // above, (k % above) * SPAN
            mass[k] = _sum_bent(units, beta, grad, y, shift, bounds, n, first, sums)
        else:
            _count(k - len(mass), k - len(mass) + 1, spans, x, counts)


@compiled
def _sum_sizes(
    start: int, stop: int, spans: int, units: Any, beta: Any, grad: Any, y: Any, shift: Any,
    bounds: Any, sums: Any
) -> None:  # fmt: skip
    low, high, zero, one = bounds[0], bounds[1], y.dtype.type(0), y.dtype.type(1)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        last = min(first + SPAN, y.shape[2])
        size = sums[n, first:last]
        size[:] = zero
        for c in units:
            b, g, v = beta[n, c, first:last], grad[n, c, first:last], y[n, c, first:last]
            constant = shift[c]
            for i in range(len(v)):
                inside = one if (v[i] > low) & (v[i] < high) else zero
                size[i] += abs(b[i] + g[i] * constant) * inside


@compiled
def _give_both(start: int, stop: int, x: Any, some: Any, rest: Any, out: Any) -> None:
    channels, zero = x.shape[1], x.dtype.type(0)
    for p in range(start, stop):
        n, c = p // channels, p % channels
        v, s, r, o = x[n, c], some[n], rest[n], out[n, c]
        for i in range(len(o)):
            o[i] = r[i] + (s[i] if v[i] != zero else zero)


@compiled
def _give(start: int, stop: int, x: Any, some: Any, out: Any) -> None:
    channels, zero = x.shape[1], x.dtype.type(0)
    for p in range(start, stop):
        n, c = p // channels, p % channels
        v, s, o = x[n, c], some[n], out[n, c]
        for i in range(len(o)):
            o[i] = s[i] if v[i] != zero else zero


def _over_channels(kernel: Any, x: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], 1, *x.shape[2:])
    flat = stacks(out)[:, 0]
    spans = -(-flat.shape[1] // SPAN)
    run(kernel, len(x) * spans, x.numel(), spans, stacks(x), flat)
    return out


def count_present(x: Tensor) -> Tensor:
    """How many channels are not 0, ``(N, 1, *space)`` of ``(N, C, *space)``."""
    return _over_channels(_count, x)


def sum_channels(x: Tensor) -> Tensor:
    """Sum over the channels, ``(N, 1, *space)`` of ``(N, C, *space)``."""
    return _over_channels(_sum, x)


def sum_bent(bent: Sequence[Any], x: Any, units: Any) -> tuple[Task, tuple[Any, Any, Any]]:
    """Sums over some channels of bias above a bend, and what `count_present` finds, as arrays.

    It is still to be run.

    Args:
        bent: Beta, grad and y, ``(N, C, L)`` each, shift and bounds, as `arrays_of` makes them.
        x: ``(N, Q, L')``.
        units: Numbers of the channels that are added up.

    Returns:
        ``(2, N, L)`` of what goes on below the bend, and of what units keep because they hold a
        bound; the sizes of the latter, ``(N, parts)``, to be added up; and how many channels of x
        are not 0, ``(N, L')``.
    """
    y = bent[2]
    samples, places, inputs = len(y), y.shape[2], x.shape[2]
    above, spans = -(-places // SPAN), -(-inputs // SPAN)
    sums, counts = np.empty((2, samples, places), y.dtype), np.empty((samples, inputs), y.dtype)
    mass = np.empty((samples, above), y.dtype)
    rows, numbers = samples * (above + spans), 2 * y.size + x.size
    arguments = spans, above, units, *bent, x, sums, mass.reshape(-1), counts
    return (_sum_both, rows, numbers, arguments), (sums, mass, counts)


def sum_sizes(bent: Sequence[Any], units: Any) -> Any:
    """The same of the sizes of what goes on below a bend, ``(N, L)``."""
    y = bent[2]
    sums, spans = np.empty((len(y), y.shape[2]), y.dtype), -(-y.shape[2] // SPAN)
    run(_sum_sizes, len(y) * spans, 2 * y.size, spans, units, *bent, sums)
    return sums


def all_but(apart: Tensor, count: int) -> Any:
    """The numbers below a count, without some."""
    units = _below(count)
    return np.delete(units, apart.numpy()) if apart.numel() else units


@lru_cache(maxsize=256)
def _below(count: int) -> Any:
    """The numbers below a count; nobody may write to them."""
    return np.arange(count)


def arrays_of(bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> tuple[Any, ...]:
    """Bias above a bend, as in `biasmatters.kernels.bends.carry`, for kernels."""
    beta, grad, y, shift, bounds = bent
    return stacks(beta), stacks(grad), stacks(y), shift.numpy(), bounds.numpy()


def give(x: Tensor, present: Tensor, rest: Tensor | None = None) -> Tensor:
    """The same for every channel of a place.

    Args:
        x: ``(N, C, *space)``.
        present: ``(N, 1, *space)`` what entries get that are not 0.
        rest: Likewise, what all of them get besides, None for nothing.
    """
    out = blank(x)
    more = None if rest is None else stacks(rest)[:, 0]
    run_all(hand_out(stacks(x), stacks(present)[:, 0], more, stacks(out)))
    return out


def hand_out(x: Any, present: Any, rest: Any | None, out: Any) -> Task:
    """`give` for arrays: ``(N, C, L)``, ``(N, L)`` twice, and where the result goes, like x."""
    rows = x.shape[0] * x.shape[1]
    if rest is None:
        return _give, rows, x.size, (x, present, out)
    return _give_both, rows, x.size, (x, present, rest, out)
