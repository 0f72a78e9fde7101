"""Linear shares in depthwise convolutions, with one plane in the cache.

Unit p hands out ``k[p - q] s[q] / sum`` of its bias to each input q within its window, where s is
the size of the input, 1 where there is one, or 1.

A plane stays as it lies in memory, one row behind the other, with zeros before and behind it. A tap
then is one distance in memory, and a convolution of the whole plane one pass for each tap, however
narrow the plane is. What a tap would fetch around the end of a row is 0 in a copy of its own for
each column of taps. The places between the strides are worked out as well and hand out nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import compiled, planes, run
from biasmatters.kernels.window_plan import plan_of

# Places of a plane that are added up at a time, so that they stay in the first cache.
SPAN = 2048
# Taps, and places, from which on taps that are all 1 go along rows and down columns apart.
MANY, WIDE = 16, 128
Sizes = Literal["size", "presence", "everything", "count"]
_CODES: dict[Sizes, int] = {"size": 0, "presence": 1, "everything": 2, "count": 3}


@compiled
def _measure(x: Any, code: int, sizes: Any) -> None:
    """The sizes of a plane's inputs."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if code in (0, 3):
        for i in range(len(x)):
            sizes[i] = abs(x[i])
    elif code == 1:
        for i in range(len(x)):
            sizes[i] = one if x[i] != zero else zero
    else:
        sizes[: len(x)] = one


@compiled
def _lay_out(values: Any, masks: Any, before: int, rooms: Any) -> None:
    """A copy for each column of taps, with 0 in the columns that such a tap meets beyond a row."""
    for k in range(len(masks)):
        copy, mask = rooms[k, before : before + len(values)], masks[k]
        for i in range(len(values)):
            copy[i] = values[i] * mask[i]


@compiled
def _correlate(rooms: Any, offsets: Any, taps: Any, out: Any) -> None:
    """``out[i] = sum_k taps[k] rooms[offsets[k] + i]``, four taps in a pass."""
    count = len(taps)
    whole = count - count % 4
    for begin in range(0, len(out), SPAN):
        total = out[begin : begin + SPAN]
        size = len(total)
        total[:] = out.dtype.type(0)
        for k in range(0, whole, 4):
            a = rooms[begin + offsets[k] :][:size]
            b = rooms[begin + offsets[k + 1] :][:size]
            c = rooms[begin + offsets[k + 2] :][:size]
            d = rooms[begin + offsets[k + 3] :][:size]
            f, g, h, j = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            for i in range(size):
                total[i] += f * a[i] + g * b[i] + h * c[i] + j * d[i]
        for k in range(whole, count):
            a, f = rooms[begin + offsets[k] :][:size], taps[k]
            for i in range(size):
                total[i] += f * a[i]


@compiled
def _add_up(
    values: Any, masks: Any, before: int, across: Any, down: Any, sign: int, rooms: Any, out: Any
) -> None:
    """The same for taps that are all 1: along rows first, then down the columns."""
    size, zero = len(values), values.dtype.type(0)
    plain, summed = rooms[len(rooms) - 1], rooms[0]
    row = summed[before : before + size]
    plain[before : before + size] = values
    row[:] = zero
    for k in range(len(across)):
        v, mask = plain[before + sign * across[k] :][:size], masks[k]
        for i in range(size):
            row[i] += v[i] * mask[i]
    for begin in range(0, len(out), SPAN):
        total = out[begin : begin + SPAN]
        total[:] = zero
        for step in down:
            v = summed[before + begin + sign * step :][: len(total)]
            for i in range(len(total)):
                total[i] += v[i]


@compiled
def _fetch(
    values: Any, even: bool, taps: Any, offsets: Any, way: Any, rooms: Any, flat: Any, out: Any
) -> None:
    """What each window adds up."""
    before, across, down, fetch, hand = way
    if even:
        _add_up(values, hand, before, across, down, 1, rooms, out)
    else:
        _lay_out(values, fetch, before, rooms)
        _correlate(flat, offsets, taps, out)


@compiled
def _hand(
    values: Any, even: bool, taps: Any, offsets: Any, way: Any, rooms: Any, flat: Any, out: Any
) -> None:  # fmt: skip
    """What each input gets of what windows hand out."""
    before, across, down, fetch, hand = way
    if even:
        _add_up(values, fetch, before, across, down, -1, rooms, out)
    else:
        _lay_out(values, hand, before, rooms)
        _correlate(flat, offsets, taps, out)


@compiled
def _list_taps(taps: Any, there: Any, back: Any, offsets: Any, returns: Any, used: Any) -> Any:
    """Where in the rooms each tap begins, there and back, and what it is.

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
def _place(values: Any, columns: int, out: Any, down: int, step: int) -> None:
    """Rows where windows begin."""
    if step == 1 and down == columns:
        for i in range(len(values)):
            out[i] = values[i]
        return
    for row in range(len(values) // columns):
        v, o = values[row * columns : (row + 1) * columns], out[row * down :]
        for i in range(columns):
            o[i * step] = v[i]


@compiled
def _divide(tau: Any, total: Any, relative: Any, absolute: Any) -> Any:
    """Shares in place of tau; how much of it has no input."""
    zero, one = tau.dtype.type(0), tau.dtype.type(1)
    left = zero
    for i in range(len(tau)):
        # A number in place of a choice: a sum of choices would be taken one by one.
        lives = one if total[i] > max(absolute, relative * abs(tau[i])) else zero
        left += abs(tau[i]) * (one - lives)
        tau[i] = tau[i] * lives / (total[i] if lives != zero else one)
    return left


@compiled
def _leave(tau: Any, share: Any, columns: int, down: int, step: int, left: Any) -> None:
    """Add up the bias that was not shared out: a share is 0 only there, or where no bias is."""
    zero = tau.dtype.type(0)
    if step == 1 and down == columns:
        for i in range(len(tau)):
            left[i] += tau[i] if share[i] == zero else zero
        return
    for row in range(len(tau) // columns):
        v, o = tau[row * columns : (row + 1) * columns], left[row * columns : (row + 1) * columns]
        given = share[row * down :]
        for i in range(columns):
            o[i] += v[i] if given[i * step] == zero else zero


@compiled
def _size(values: Any) -> Any:
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += abs(values[i])
    return total


@compiled
def _split(
    start: int, stop: int, code: int, x: Any, taps: Any, tau: Any, plan: Any, way: Any, there: Any,
    back: Any, least: Any, beta: Any, lost: Any, missed: Any
) -> None:  # fmt: skip
    columns, down, step, length, whole, copies, long = plan
    relative, absolute, zero = least[0], least[1], x.dtype.type(0)
    # One for what is fetched and one for what is handed back, so that around both stays 0.
    near, far = np.zeros((copies, long), x.dtype), np.zeros((copies, long), x.dtype)
    flat_near, flat_far = near.reshape(-1), far.reshape(-1)
    share, total = np.zeros(length, x.dtype), np.empty(length, x.dtype)
    sizes, given = np.zeros(whole, x.dtype), np.empty(whole, x.dtype)
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
        _measure(x[p], code, sizes)
        _fetch(sizes, even, used[:some], offsets[:some], way, near, flat_near, total)
        _place(tau[p], columns, share, down, step)
        missed[p] = _divide(share, total, relative, absolute)
        if missed[p] != zero:
            lost[p] = zero
            _leave(tau[p], share, columns, down, step, lost[p])
        _hand(share, even, used[:some], returns[:some], way, far, flat_far, given)
        if code == 3:
            beta[p] = given[: x.shape[1]]
        else:
            for i in range(x.shape[1]):
                beta[p, i] = given[i] * sizes[i]


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
    beta, lost = x.new_empty(x.shape), tau.new_empty(tau.shape)
    missed = tau.new_empty(x.shape[0] * x.shape[1])
    run(
        _split,
        len(missed),
        4 * (x.numel() + tau.numel()),
        _CODES[sizes],
        planes(x),
        _kernels(taps),
        planes(tau),
        *plan_of(x, tau, taps, padding, dilation, stride),
        _bounds(least, x),
        planes(beta),
        planes(lost),
        missed.numpy(),
    )
    kept = missed == 0
    if bool(kept.all()):
        return beta, None
    lost.flatten(0, 1)[kept] = 0  # only the others were written
    return beta, lost


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
    bounds: Any, plan: Any, way: Any, there: Any, back: Any, least: Any, beta: Any, mass: Any,
    lost: Any
) -> None:  # fmt: skip
    columns, down, step, length, whole, copies, long = plan
    relative, absolute, zero = least[0], least[1], x.dtype.type(0)
    near, far = np.zeros((copies, long), x.dtype), np.zeros((copies, long), x.dtype)
    flat_near, flat_far = near.reshape(-1), far.reshape(-1)
    share, total = np.zeros(length, x.dtype), np.empty(length, x.dtype)
    sizes, given = np.zeros(whole, x.dtype), np.empty(whole, x.dtype)
    live, held = np.empty(y.shape[1], x.dtype), np.empty(y.shape[1], x.dtype)
    offsets = np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), x.dtype)
    ones, everything = np.ones(len(used), x.dtype), np.empty(length, x.dtype)
    apart = len(used) >= MANY and whole >= WIDE
    # How many inputs units have in reach, where no tap is 0.
    sizes[: x.shape[1]] = x.dtype.type(1)
    _fetch(sizes, True, ones, offsets, way, near, flat_near, everything)
    for p in range(start, stop):
        some, even = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        even, whole_kernel = even and apart, some == len(used)
        constant = shift[p % len(shift)]
        size, held_size = _bend(above[p], grad[p], y[p], constant, bounds, live, held)
        lost[p] = zero
        if size == zero:
            beta[p] = zero
        else:
            _measure(x[p], code, sizes)
            _fetch(sizes, even, used[:some], offsets[:some], way, near, flat_near, total)
            _place(live, columns, share, down, step)
            missed = _divide(share, total, relative, absolute)
            if missed != zero:
                held_size += missed
                _leave(live, share, columns, down, step, held)
            _hand(share, even, used[:some], returns[:some], way, far, flat_far, given)
            for i in range(x.shape[1]):
                beta[p, i] = given[i] * sizes[i]
        if held_size != zero:
            _place(held, columns, share, down, step)
            if whole_kernel:
                _over_all(share, everything, lost[p])
            else:
                sizes[: x.shape[1]] = x.dtype.type(1)
                _fetch(sizes, False, ones[:some], offsets[:some], way, near, flat_near, total)
                _over_all(share, total, lost[p])
            together = whole_kernel and apart
            _hand(share, together, ones[:some], returns[:some], way, far, flat_far, given)
            for i in range(x.shape[1]):
                beta[p, i] += given[i]
        mass[p] = held_size


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
    beta, mass = x.new_empty(x.shape), x.new_empty(x.shape[0] * x.shape[1])
    lost = x.new_empty(len(mass), 2)
    run(
        _split_bent,
        len(mass),
        4 * (x.numel() + bent[2].numel()),
        _CODES[sizes],
        planes(x),
        _kernels(taps),
        *(planes(t) for t in bent[:3]),
        *(t.detach().numpy() for t in bent[3:]),
        *plan_of(x, bent[2], taps, padding, dilation, stride),
        _bounds(least, x),
        planes(beta),
        mass.numpy(),
        lost.numpy(),
    )
    orphans, sizes_lost = lost.reshape(*x.shape[:2], 2).sum(1).unbind(1)
    return beta, mass.reshape(x.shape[:2]).sum(1), orphans if bool(sizes_lost.any()) else None


@compiled
def _spread(
    start: int, stop: int, grad: Any, taps: Any, plan: Any, way: Any, there: Any, back: Any,
    out: Any
) -> None:  # fmt: skip
    columns, down, step, length, whole, copies, long = plan
    rooms, given = np.zeros((copies, long), out.dtype), np.zeros(length, out.dtype)
    flat, gets = rooms.reshape(-1), np.empty(whole, out.dtype)
    offsets = np.empty(taps.shape[1], np.int64)
    returns, used = np.empty_like(offsets), np.empty(len(offsets), out.dtype)
    for p in range(start, stop):
        some, _ = _list_taps(taps[p % len(taps)], there, back, offsets, returns, used)
        _place(grad[p], columns, given, down, step)
        _hand(given, False, used[:some], returns[:some], way, rooms, flat, gets)
        for i in range(out.shape[1]):
            out[p, i] = gets[i]


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
    arrays = planes(grad), _kernels(taps), *sides, planes(out)
    run(_spread, like.shape[0] * like.shape[1], numbers, *arrays)
    return out


def _kernels(taps: Tensor) -> Any:
    """``(C, kh kw)``."""
    return taps.detach().flatten(1).contiguous().numpy()


def _bounds(least: tuple[float, float], like: Tensor) -> Any:
    """What counts as no total, in the format of a tensor."""
    return np.array(least, planes(like).dtype)
