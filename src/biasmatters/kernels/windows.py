"""Linear shares in depthwise convolutions, with one plane in the cache.

Unit p hands out ``k[p - q] s[q] / sum`` of its bias to each input q within its window, where s is
the size of the input, 1 where there is one, or 1.

A plane is laid out with zeros before, behind and between its rows. A tap then is one distance in
memory, and a convolution of the whole plane one pass over it, however narrow the plane is. The
places between the strides, and between the rows, are worked out as well and hand out nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.bends import pass_row
from biasmatters.kernels.constants import slopes_of
from biasmatters.kernels.machine_code import (
    Task,
    any_in,
    array,
    blank,
    compiled,
    limits_of,
    planes,
    run,
    run_all,
    summed,
)
from biasmatters.kernels.window_plan import Plan, plan_of

# Places of a plane that are added up at a time, so that they stay in the first cache.
SPAN = 2048
# Taps, and places, from which on taps that are all 1 go along rows and down columns apart.
MANY, WIDE = 16, 128
Sizes = Literal["size", "presence", "everything", "count"]
_CODES: dict[Sizes, int] = {"size": 0, "presence": 1, "everything": 2, "count": 3}


@compiled
def _measure(x: Any, code: int, columns: int, pitch: int, room: Any) -> None:
    """Lay out the sizes of a plane's inputs."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for row in range(len(x) // columns):
        v, s = x[row * columns : (row + 1) * columns], room[row * pitch :]
        if code in (0, 3):
            for i in range(columns):
                s[i] = abs(v[i])
        elif code == 1:
            for i in range(columns):
                s[i] = one if v[i] != zero else zero
        else:
            s[:columns] = one


@compiled
def _place(values: Any, columns: int, down: int, step: int, room: Any) -> None:
    """Lay out what belongs to windows where they begin."""
    for row in range(len(values) // columns):
        v, o = values[row * columns : (row + 1) * columns], room[row * down :]
        if step == 1:
            for i in range(columns):
                o[i] = v[i]
        else:
            for i in range(columns):
                o[i * step] = v[i]


@compiled
def _take_up(room: Any, columns: int, down: int, step: int, values: Any) -> None:
    """The way back of `_place`."""
    for row in range(len(values) // columns):
        v, o = values[row * columns : (row + 1) * columns], room[row * down :]
        for i in range(columns):
            v[i] = o[i * step]


@compiled
def _nine(room: Any, offsets: Any, taps: Any, out: Any) -> None:
    """As `_correlate` has it, for nine taps."""
    size, last = len(out), taps[8]
    a, b, c = room[offsets[0] :][:size], room[offsets[1] :][:size], room[offsets[2] :][:size]
    d, e, f = room[offsets[3] :][:size], room[offsets[4] :][:size], room[offsets[5] :][:size]
    g, h, j = room[offsets[6] :][:size], room[offsets[7] :][:size], room[offsets[8] :][:size]
    k, m, n, o = taps[0], taps[1], taps[2], taps[3]
    p, q, r, s = taps[4], taps[5], taps[6], taps[7]
    for i in range(size):
        upper = k * a[i] + m * b[i] + n * c[i] + o * d[i] + p * e[i]
        out[i] = upper + q * f[i] + r * g[i] + s * h[i] + last * j[i]


@compiled
def _correlate(room: Any, offsets: Any, taps: Any, out: Any) -> None:
    """``out[i] = sum_k taps[k] room[offsets[k] + i]``, four taps in a pass."""
    count = len(taps)
    if count == 9:
        _nine(room, offsets, taps, out)
        return
    whole = count - count % 4
    for begin in range(0, len(out), SPAN):
        total = out[begin : begin + SPAN]
        size = len(total)
        total[:] = out.dtype.type(0)
        for k in range(0, whole, 4):
            a = room[begin + offsets[k] :][:size]
            b = room[begin + offsets[k + 1] :][:size]
            c = room[begin + offsets[k + 2] :][:size]
            d = room[begin + offsets[k + 3] :][:size]
            f, g, h, j = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            for i in range(size):
                total[i] += f * a[i] + g * b[i] + h * c[i] + j * d[i]
        for k in range(whole, count):
            a, f = room[begin + offsets[k] :][:size], taps[k]
            for i in range(size):
                total[i] += f * a[i]


@compiled
def _add_up(
    room: Any, before: int, down: Any, across: Any, sign: int, summed: Any, out: Any
) -> None:
    """The same for taps that are all 1: along rows first, then down the columns."""
    zero = out.dtype.type(0)
    row = summed[before : len(summed) - before]
    row[:] = zero
    for step in across:
        v = room[before + sign * step :][: len(row)]
        for i in range(len(row)):
            row[i] += v[i]
    for begin in range(0, len(out), SPAN):
        total = out[begin : begin + SPAN]
        total[:] = zero
        for step in down:
            v = summed[before + begin + sign * step :][: len(total)]
            for i in range(len(total)):
                total[i] += v[i]


@compiled
def _list_taps(taps: Any, there: Any, back: Any, offsets: Any, returns: Any, used: Any) -> Any:
    """Where in the room each tap begins, there and back, and what it is.

    Returns how many are not 0, and whether all of them are 1.
    """
    some, ones = 0, 0
    for k in range(len(taps)):
        if taps[k] != 0:
            offsets[some], returns[some], used[some] = there[k], back[k], taps[k]
            some += 1
            ones += 1 if taps[k] == 1 else 0
    return some, ones == len(taps)


@compiled
def _divide(tau: Any, total: Any, relative: Any, absolute: Any, kept: Any) -> Any:
    """Shares in place of tau; what has no input is added to what is kept, its size returned."""
    zero, one = tau.dtype.type(0), tau.dtype.type(1)
    left = zero
    for i in range(len(tau)):
        # A number in place of a choice: a sum of choices would be taken one by one.
        lives = one if total[i] > max(absolute, relative * abs(tau[i])) else zero
        lost = tau[i] * (one - lives)
        left += abs(lost)
        kept[i] += lost
        tau[i] = tau[i] * lives / (total[i] if lives != zero else one)
    return left


@compiled
def _weigh(given: Any, sizes: Any, columns: int, pitch: int, out: Any) -> None:
    """What inputs get, row by row."""
    for row in range(len(out) // columns):
        o = out[row * columns : (row + 1) * columns]
        g, s = given[row * pitch :], sizes[row * pitch :]
        for i in range(columns):
            o[i] = g[i] * s[i]


@compiled
def _add(given: Any, columns: int, pitch: int, out: Any) -> None:
    """What inputs get besides, row by row."""
    for row in range(len(out) // columns):
        o, g = out[row * columns : (row + 1) * columns], given[row * pitch :]
        for i in range(columns):
            o[i] += g[i]


@compiled
def _size(values: Any) -> Any:
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += abs(values[i])
    return total


@compiled
def _split(
    start: int, stop: int, code: int, x: Any, taps: Any, tau: Any, plan: Any, there: Any, back: Any,
    down: Any, across: Any, least: Any, beta: Any, lost: Any, missed: Any
) -> None:  # fmt: skip
    width, columns, pitch, under, step, length, whole, before, long = plan
    relative, absolute, zero = least[0], least[1], x.dtype.type(0)
    # One for what is fetched, one for what is handed back, and one for what is added up of them.
    near, far, summed = (
        np.zeros(long, x.dtype),
        np.zeros(long, x.dtype),
        np.zeros(long, x.dtype),
    )
    sizes, share = near[before:], far[before : before + length]
    total, kept, given = (
        np.empty(length, x.dtype),
        np.zeros(length, x.dtype),
        np.empty(whole, x.dtype),
    )
    offsets = np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), x.dtype)
    apart = len(used) >= MANY and whole >= WIDE
    for p in range(start, stop):
        missed[p] = zero
        if _size(tau[p]) == zero:
            beta[p] = zero
            continue
        some, even = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        even = even and apart
        _measure(x[p], code, width, pitch, sizes)
        if even:
            _add_up(near, before, down, across, 1, summed, total)
        else:
            _correlate(near, offsets[:some], used[:some], total)
        _place(tau[p], columns, under, step, share)
        missed[p] = _divide(share, total, relative, absolute, kept)
        if missed[p] != zero:
            _take_up(kept, columns, under, step, lost[p])
            kept[:] = zero
        if even:
            _add_up(far, before, down, across, -1, summed, given)
        else:
            _correlate(far, returns[:some], used[:some], given)
        if code == 3:
            _take_up(given, width, pitch, 1, beta[p])
        else:
            _weigh(given, sizes, width, pitch, beta[p])


def split(
    x: Tensor,
    tau: Tensor,
    taps: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
    sizes: Sizes,
    least: tuple[float, float],
) -> tuple[Tensor, Tensor | None]:
    """Split tau over each window.

    Args:
        x: ``(N, C, H, W)``.
        tau: ``(N, C, H', W')``.
        taps: ``(C, 1, kh, kw)``, not negative.
        padding: Before and after, for each axis.
        dilation: For each axis.
        stride: Likewise.
        sizes: What an input counts: its ``size``, its ``presence``, or ``everything`` alike; with
            ``count`` x says how many inputs lie at a place, and the result is what each gets.
        least: As in `biasmatters.kernels.shares.divide`.

    Returns:
        Like x, and the tau of units without any input, None for none.
    """
    beta, lost = blank(x), blank(tau)
    plan = plan_of(x, tau, taps, padding, dilation, stride)
    arrays = planes(x), planes(tau), _kernels(taps)
    out = planes(beta), planes(lost)
    task, missed = split_planes(*arrays, plan, sizes, limits_of(least, arrays[0]), *out)
    run_all(task)
    return beta, lost if finish_lost(missed, out[1]) else None


def split_planes(
    x: Any, tau: Any, taps: Any, plan: Plan, sizes: Sizes, least: Any, beta: Any, lost: Any
) -> tuple[Task, Any]:
    """`split` for arrays: ``(N C, H W)``, ``(N C, H' W')`` and ``(C, kh kw)``; still to be run.

    Args:
        x: As in `split`.
        tau: Likewise.
        taps: Likewise.
        plan: How planes are gone through.
        sizes: As in `split`.
        least: As `biasmatters.kernels.machine_code.limits_of` has it.
        beta: Like x, where its shares go.
        lost: Like tau, where the tau of units without any input goes, in planes that have any.

    Returns:
        The task, and how much of each plane goes there, to be asked with `finish_lost`.
    """
    missed = np.empty(len(x), x.dtype)
    arrays = x, taps, tau, *plan, least, beta, lost, missed
    return (_split, len(x), 4 * (x.size + tau.size), (_CODES[sizes], *arrays)), missed


def finish_lost(missed: Any, lost: Any) -> bool:
    """Write 0 to what is lost in planes whose units all have inputs; whether there are others.

    Without others nothing is written.
    """
    if not any_in(missed):
        return False
    lost[missed == 0] = 0  # only the others were written
    return True


@compiled
def _bend(beta: Any, grad: Any, y: Any, constant: Any, bounds: Any, live: Any, held: Any) -> Any:
    """Bias that goes on below a bend, and that of units which hold a bound; the sizes of both."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    size, held_size = zero, zero
    for i in range(len(y)):
        inside = one if (y[i] > low) & (y[i] < high) else zero
        h = at_low if y[i] <= low else (at_high if y[i] >= high else zero)
        total = beta[i] + grad[i] * (constant * inside + h)
        live[i] = total * inside
        held[i] = total * (one - inside)
        size += abs(total) * inside
        held_size += abs(total) * (one - inside)
    return size, held_size


@compiled
def _over_all(held: Any, count: Any, lost: Any) -> None:
    """Shares of all inputs of a unit in place of what is held; what has none, and its size."""
    zero, one = held.dtype.type(0), held.dtype.type(1)
    left, size = zero, zero
    for i in range(len(held)):
        some = one if count[i] >= one else zero
        left += held[i] * (one - some)
        size += abs(held[i]) * (one - some)
        held[i] = held[i] * some / max(count[i], one)
    lost[0] += left
    lost[1] += size


@compiled
def _split_bent(
    start: int, stop: int, code: int, x: Any, taps: Any, above: Any, grad: Any, y: Any, shift: Any,
    bounds: Any, plan: Any, there: Any, back: Any, down: Any, across: Any, least: Any, beta: Any,
    mass: Any, lost: Any
) -> None:  # fmt: skip
    width, columns, pitch, under, step, length, whole, before, long = plan
    relative, absolute, zero = least[0], least[1], x.dtype.type(0)
    near, far, rest, summed = (
        np.zeros(long, x.dtype),
        np.zeros(long, x.dtype),
        np.zeros(long, x.dtype),
        np.zeros(long, x.dtype),
    )
    sizes, share, held = (
        near[before:],
        far[before : before + length],
        rest[before : before + length],
    )
    total, given = np.empty(length, x.dtype), np.empty(whole, x.dtype)
    live, kept = np.empty(y.shape[1], x.dtype), np.empty(y.shape[1], x.dtype)
    offsets = np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), x.dtype)
    ones, everything = np.ones(len(used), x.dtype), np.empty(length, x.dtype)
    apart, left = len(used) >= MANY and whole >= WIDE, False
    # How many inputs units have in reach, where no tap is 0.
    _measure(x[0], 2, width, pitch, sizes)
    _add_up(near, before, down, across, 1, summed, everything)
    for p in range(start, stop):
        some, even = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        even, whole_kernel = even and apart, some == len(used)
        constant = shift[p % len(shift)]
        size, held_size = _bend(above[p], grad[p], y[p], constant, bounds, live, kept)
        _place(live, columns, under, step, share)
        if held_size != zero:
            _place(kept, columns, under, step, held)
        elif left:
            held[:] = zero
        lost[p] = zero
        if size == zero:
            beta[p] = zero
        else:
            _measure(x[p], code, width, pitch, sizes)
            if even:
                _add_up(near, before, down, across, 1, summed, total)
            else:
                _correlate(near, offsets[:some], used[:some], total)
            held_size += _divide(share, total, relative, absolute, held)
            if even:
                _add_up(far, before, down, across, -1, summed, given)
            else:
                _correlate(far, returns[:some], used[:some], given)
            _weigh(given, sizes, width, pitch, beta[p])
        if held_size != zero:
            if whole_kernel:
                _over_all(held, everything, lost[p])
            else:
                _measure(x[p], 2, width, pitch, sizes)
                _correlate(near, offsets[:some], ones[:some], total)
                _over_all(held, total, lost[p])
            if whole_kernel and apart:
                _add_up(rest, before, down, across, -1, summed, given)
            else:
                _correlate(rest, returns[:some], ones[:some], given)
            _add(given, width, pitch, beta[p])
        mass[p], left = held_size, held_size != zero


def split_bent(
    x: Tensor,
    bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    taps: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
    sizes: Sizes,
    least: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Split the bias below a bend, and hand what units without any input have to all in reach.

    Args:
        x: As in `split`.
        bent: As in `biasmatters.kernels.bends.carry`: beta, grad, y, shift and bounds.
        taps: As in `split`.
        padding: Likewise.
        dilation: Likewise.
        stride: Likewise.
        sizes: Likewise.
        least: Likewise.

    Returns:
        Like x; the size of the bias that went evenly to all, ``(N,)``; and the sum of what has no
        input in reach at all, likewise, None for nothing.
    """
    beta, inputs = blank(x), planes(x)
    mass, lost = np.empty(len(inputs), inputs.dtype), np.empty((len(inputs), 2), inputs.dtype)
    run(
        _split_bent,
        len(mass),
        4 * (x.numel() + bent[2].numel()),
        _CODES[sizes],
        inputs,
        _kernels(taps),
        *(planes(t) for t in bent[:3]),
        *(array(t) for t in bent[3:]),
        *plan_of(x, bent[2], taps, padding, dilation, stride),
        limits_of(least, inputs),
        planes(beta),
        mass,
        lost,
    )
    total = summed(mass.reshape(x.shape[:2]), 1)
    if not any_in(lost[:, 1]):
        return beta, total, None
    return beta, total, summed(lost[:, 0].reshape(x.shape[:2]), 1)


@compiled
def _spread(
    start: int, stop: int, grad: Any, taps: Any, plan: Any, there: Any, back: Any, out: Any
) -> None:  # fmt: skip
    width, columns, pitch, under, step, _, whole, before, long = plan
    far, gets = np.zeros(long, out.dtype), np.empty(whole, out.dtype)
    given, offsets = far[before:], np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), out.dtype)
    for p in range(start, stop):
        some, _ = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        _place(grad[p], columns, under, step, given)
        _correlate(far, returns[:some], used[:some], gets)
        _take_up(gets, width, pitch, 1, out[p])


def spread(
    grad: Tensor,
    taps: Tensor,
    like: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """Transpose of a depthwise convolution.

    Args:
        grad: ``(N, C, H', W')``.
        taps: ``(C, 1, kh, kw)``.
        like: ``(N, C, H, W)``, of which the shape is looked at.
        padding: As in `split`.
        dilation: Likewise.
        stride: Likewise.
    """
    out = grad.new_empty(like.shape)
    sides = plan_of(like, grad, taps, padding, dilation, stride)
    numbers = 2 * (grad.numel() + out.numel())
    arrays = planes(grad), _kernels(taps), *sides[:3], planes(out)
    run(_spread, like.shape[0] * like.shape[1], numbers, *arrays)
    return out


@compiled
def _spread_bent(
    start: int, stop: int, grad: Any, y: Any, gain: Any, bounds: Any, taps: Any, plan: Any,
    there: Any, back: Any, out: Any, sums: Any
) -> None:  # fmt: skip
    width, columns, pitch, under, step, _, whole, before, long = plan
    far, gets, below = np.zeros(long, y.dtype), np.empty(whole, y.dtype), np.empty_like(y[0])
    given, offsets = far[before:], np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), y.dtype)
    for p in range(start, stop):
        some, _ = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        pass_row(grad[p], y[p], gain[p % len(gain)], bounds, below, sums[p])
        _place(below, columns, under, step, given)
        _correlate(far, returns[:some], used[:some], gets)
        _take_up(gets, width, pitch, 1, out[p])


def spread_bent(
    bent: tuple[Tensor, Tensor, Tensor | None, Tensor],
    taps: Tensor,
    like: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The same for a gradient above a bend and a slope.

    Args:
        bent: As in `biasmatters.kernels.bends.pass_back`: grad, y, gain and bounds.
        taps: As in `spread`.
        like: Likewise.
        padding: Likewise.
        dilation: Likewise.
        stride: Likewise.

    Returns:
        What `spread` returns for the gradient below the bend, and what
        `biasmatters.kernels.bends.weigh` does.
    """
    grad, y, gain, bounds = bent
    out, sums = grad.new_empty(like.shape), np.empty((*y.shape[:2], 5), _format(y))
    sides = plan_of(like, y, taps, padding, dilation, stride)
    numbers = 2 * (grad.numel() + out.numel())
    above = planes(grad), planes(y), slopes_of(gain, y), array(bounds)
    arrays = *above, _kernels(taps), *sides[:3], planes(out), sums.reshape(-1, 5)
    run(_spread_bent, like.shape[0] * like.shape[1], numbers, *arrays)
    return out, torch.from_numpy(sums)


def _kernels(taps: Tensor) -> Any:
    """``(C, kh kw)``."""
    values = array(taps)
    return np.ascontiguousarray(values.reshape(len(values), -1))


def _format(like: Tensor) -> Any:
    return np.float32 if like.dtype == torch.float32 else np.float64
