"""Maps of channels at single places, tile by tile.

What a bend does to a gradient or to bias takes one pass over memory, and a product of matrices
another two. Here a core takes a few places at a time, and what one makes for the other stays in its
cache. The products are torch's own (`biasmatters.kernels.blas`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels import blas
from biasmatters.kernels.bends import pass_row
from biasmatters.kernels.blas import multiply
from biasmatters.kernels.constants import slopes_of
from biasmatters.kernels.cuts import Cuts
from biasmatters.kernels.machine_code import (
    any_in,
    array,
    blank,
    compiled,
    limits_of,
    run,
    stacks,
    summed,
)

# Numbers of a tile, some of which a core's cache holds.
ROOM = 1 << 19
# Coefficients from which on one large product is faster than that of each tile.
MANY = 1 << 19
# Places below which a product is slow.
FEW = 32
# Multiplications that take as long as another number.
EACH = 16


def fit(weight: Tensor) -> bool:
    """Whether products with a weight can be called, and are no slower tile by tile."""
    return weight.numel() < MANY and blas.at_hand()


def _tiles(like: Any, channels: int) -> tuple[int, int]:
    """How many tiles each sample's places ``(N, C, L)`` make, and places of each."""
    samples, units, places = like.shape
    each = -(-torch.get_num_threads() // samples)
    count = max(-(-places * max(units, channels) // ROOM), min(each, places // FEW), 1)
    span = -(-places // count)
    return -(-places // span), span


def _in_rows(values: Any) -> Any:
    """What a product is made of lies row by row."""
    return np.ascontiguousarray(values)


def _numbers(like: Any, channels: int) -> int:
    """As many as take the time of a bend and a product."""
    return int(like.size * (3 + channels // EACH))


@compiled
def _pass_back(
    start: int, stop: int, spans: int, span: int, weight: Any, grad: Any, y: Any, gain: Any,
    bounds: Any, below: Any, out: Any
) -> None:  # fmt: skip
    units, channels = weight.shape
    places, room = y.shape[2], np.empty((units, span), y.dtype)
    for k in range(start, stop):
        n, first = k // spans, k % spans * span
        last = min(first + span, places)
        for p in range(units):
            g, v, b = grad[n, p, first:last], y[n, p, first:last], room[p, : last - first]
            pass_row(g, v, gain[p], bounds, b, out[k, p])
        sizes = last - first, channels, units, span, channels, places
        to = below[n, 0, first:].ctypes.data
        multiply(sizes, (room.ctypes.data, weight.ctypes.data, to), True, room)


def pass_back(
    bent: tuple[Tensor, Tensor, Tensor | None, Tensor], weight: Tensor, like: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient at the input for one above a bend and a slope.

    Args:
        bent: As in `biasmatters.kernels.bends.pass_back`: grad, y, gain and bounds.
        weight: ``(P, Q)``.
        like: The input, ``(N, Q, *space)``.

    Returns:
        Like it, and what `biasmatters.kernels.bends.weigh` returns.
    """
    grad, y, gain, bounds = bent
    below, values, rows = blank(like), stacks(y), _in_rows(array(weight))
    spans, span = _tiles(values, rows.shape[1])
    out = np.empty((len(values) * spans, len(rows), 5), values.dtype)
    run(
        _pass_back,
        len(out),
        _numbers(values, rows.shape[1]),
        spans,
        span,
        rows,
        stacks(grad),
        values,
        slopes_of(gain, y),
        bounds.numpy(),
        stacks(below),
        out,
    )
    # Of one tile for each sample there is nothing to add up.
    flat = out.reshape(len(values), spans, -1)
    sums = torch.from_numpy(flat[:, 0]) if spans == 1 else summed(flat, 1)
    return below, sums.reshape(*y.shape[:2], 5)


@compiled
def _share_out(
    beta: Any, grad: Any, y: Any, constant: Any, bounds: Any, least: Any, total: Any, left: Any
) -> Any:
    """Shares of bias below a bend in place of totals; what has none is added to what is left."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    relative, absolute, size = least[0], least[1], zero
    for i in range(len(y)):
        inside = (y[i] > low) & (y[i] < high)
        h = at_low if y[i] <= low else (at_high if y[i] >= high else zero)
        tau = beta[i] + grad[i] * (constant if inside else h)
        lives = one if inside & (total[i] > max(absolute, relative * abs(tau))) else zero
        kept = tau * (one - lives)
        left[i] += kept
        size += abs(kept)
        total[i] = tau * lives / (total[i] if lives != zero else one)
    return size


@compiled
def _share_all(
    n: int, first: int, above: Any, grad: Any, y: Any, shift: Any, bounds: Any, least: Any,
    total: Any, left: Any
) -> Any:  # fmt: skip
    """The same of all units of a tile; the size of what is left."""
    size, last = y.dtype.type(0), first + len(left)
    left[:] = y.dtype.type(0)
    for p in range(y.shape[1]):
        b, g, v = above[n, p, first:last], grad[n, p, first:last], y[n, p, first:last]
        size += _share_out(b, g, v, shift[p], bounds, least, total[p, : len(left)], left)
    return size


@compiled
def _keep_back(
    beta: Any, grad: Any, y: Any, constant: Any, bounds: Any, share: Any, out: Any
) -> None:
    """The bias below a bend that was not shared out: a share is 0 only there, or without bias."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = y.dtype.type(0)
    for i in range(len(y)):
        inside = (y[i] > low) & (y[i] < high)
        h = at_low if y[i] <= low else (at_high if y[i] >= high else zero)
        out[i] = beta[i] + grad[i] * (constant if inside else h) if share[i] == zero else zero


@compiled
def _redirect(mine: Any, everything: Any, reach: Any, plane: Any) -> Any:
    """What a unit hands to those inputs that it sees, not to all; returns what it has none for."""
    zero, one = mine.dtype.type(0), mine.dtype.type(1)
    lost = zero
    for i in range(len(mine)):
        plane[i] -= mine[i] / everything
        lost += mine[i] if reach < one else zero
        mine[i] = mine[i] / reach if reach >= one else zero
        plane[i] += mine[i]
    return lost


@compiled
def _hand_left(
    n: int, first: int, above: Any, grad: Any, y: Any, shift: Any, bounds: Any, share: Any,
    units: Any, firsts: Any, everything: Any, plane: Any, rooms: Any
) -> Any:  # fmt: skip
    """What is left, for each input that all units see; of others in rooms; what none sees."""
    last, lost = first + len(plane), y.dtype.type(0)
    for i in range(len(plane)):
        plane[i] /= everything
    for u in range(len(units)):
        p, mine = units[u], rooms[u, : len(plane)]
        b, g, v = above[n, p, first:last], grad[n, p, first:last], y[n, p, first:last]
        _keep_back(b, g, v, shift[p], bounds, share[p, : len(plane)], mine)
        reach = everything - y.dtype.type(firsts[u + 1] - firsts[u])
        lost += _redirect(mine, everything, reach, plane)
    return lost


@compiled
def _give(x: Any, n: int, first: int, plane: Any, beta: Any) -> None:
    """What inputs get for each unit of their size times that, and what goes to all."""
    last = first + len(plane)
    for q in range(x.shape[1]):
        v, b = x[n, q, first:last], beta[n, q, first:last]
        for i in range(len(b)):
            b[i] = b[i] * abs(v[i]) + plane[i]


@compiled
def _take_back(
    n: int, first: int, units: Any, firsts: Any, cut: Any, dead: Any, plane: Any, rooms: Any,
    beta: Any
) -> None:  # fmt: skip
    """What units do not hand to channels that they do not see."""
    last = first + len(plane)
    for u in range(len(units)):
        mine = rooms[u, : len(plane)]
        for q in cut[firsts[u] : firsts[u + 1]]:
            beta[n, q, first:last] -= mine
    for q in dead:
        beta[n, q, first:last] = plane.dtype.type(0)


@compiled
def _sizes(x: Any, n: int, first: int, last: int, out: Any) -> None:
    for q in range(x.shape[1]):
        v, o = x[n, q, first:last], out[q, : last - first]
        for i in range(len(v)):
            o[i] = abs(v[i])


@compiled
def _split_bent(
    start: int, stop: int, spans: int, span: int, positive: bool, weight: Any, x: Any, above: Any,
    grad: Any, y: Any, shift: Any, bounds: Any, least: Any, units: Any, firsts: Any, cut: Any,
    dead: Any, beta: Any, mass: Any, lost: Any
) -> None:  # fmt: skip
    outputs, channels = weight.shape
    places, everything = y.shape[2], y.dtype.type(channels)
    room, sizes = np.empty((outputs, span), y.dtype), np.empty((channels, span), y.dtype)
    rooms, left = np.empty((len(units), span), y.dtype), np.empty(span, y.dtype)
    for k in range(start, stop):
        n, first = k // spans, k % spans * span
        last = min(first + span, places)
        plane = left[: last - first]
        seen, step = x[n, 0, first:].ctypes.data, places
        if not positive:
            _sizes(x, n, first, last, sizes)
            seen, step = sizes.ctypes.data, span
        matrix, shares = weight.ctypes.data, room.ctypes.data
        how = last - first, outputs, channels, step, channels, span
        multiply(how, (seen, matrix, shares), False, room)
        mass[k] = _share_all(n, first, above, grad, y, shift, bounds, least, room, plane)
        how, to = (last - first, channels, outputs, span, channels, places), beta[n, 0, first:]
        multiply(how, (shares, matrix, to.ctypes.data), True, room)
        lost[k], some_left = y.dtype.type(0), mass[k] != y.dtype.type(0)
        if some_left:
            lost[k] = _hand_left(
                n, first, above, grad, y, shift, bounds, room, units, firsts, everything, plane,
                rooms,
            )  # fmt: skip
        _give(x, n, first, plane, beta)
        if some_left:
            _take_back(n, first, units, firsts, cut, dead, plane, rooms, beta)


def split_bent(
    x: Tensor,
    bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    sizes: Tensor,
    cuts: Cuts,
    least: tuple[float, float],
    *,
    positive: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Split the bias below a bend by the sizes of contributions.

    What units without any have, or hold at a bound, goes evenly to all inputs in their reach.

    Args:
        x: ``(N, Q, *space)``.
        bent: As in `biasmatters.kernels.bends.carry`: beta, grad, y, shift and bounds.
        sizes: ``(P, Q)`` of the coefficients.
        cuts: Where they are 0.
        least: As in `biasmatters.kernels.shares.divide`.
        positive: Whether no input is known to be negative.

    Returns:
        Like x; the size of the bias that went evenly to all, ``(N,)``; and the sum of what has no
        input in reach at all, likewise, None for nothing.
    """
    beta, inputs, matrix = blank(x), _in_rows(stacks(x)), _in_rows(array(sizes))
    streams = [stacks(t) for t in bent[:3]]
    spans, span = _tiles(streams[2], inputs.shape[1])
    mass, lost = np.empty((2, len(x), spans), inputs.dtype)
    run(
        _split_bent,
        mass.size,
        _numbers(streams[2], 2 * inputs.shape[1]),
        spans,
        span,
        positive,
        matrix,
        inputs,
        *streams,
        *(array(t) for t in bent[3:]),
        limits_of(least, inputs),
        *cuts[1:],
        stacks(beta),
        mass.reshape(-1),
        lost.reshape(-1),
    )
    orphans = summed(lost, 1) if len(cuts.units) and any_in(lost) else None
    return beta, summed(mass, 1), orphans
