"""What a bend between two bounds does to bias, plane by plane, in one pass over memory.

A plane is one channel of one sample. With the value y behind the bend, the gradient G there and the
bias beta that arrived: where ``low < y < high`` the unit passes on, elsewhere it holds a bound h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.constants import slopes_of
from biasmatters.kernels.machine_code import Kernel, any_in, blank, compiled, limits_of, planes, run


@compiled
def pass_row(g: Any, v: Any, slope: Any, bounds: Any, b: Any, out: Any) -> None:
    """A plane's gradient below the bend and a slope, and its sums."""
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = v.dtype.type(0)
    held, held_size, passed, passed_size, nothing = zero, zero, zero, zero, zero
    for i in range(len(g)):
        m = g[i] if (v[i] > low) & (v[i] < high) else zero
        h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
        b[i] = m * slope
        held += g[i] * h
        held_size += abs(g[i] * h)
        passed += m
        passed_size += abs(m)
        nothing += v[i] * zero
    out[0], out[1], out[2], out[3], out[4] = held, held_size, passed, passed_size, nothing


@compiled
def _pass_back(
    start: int, stop: int, grad: Any, y: Any, gain: Any, bounds: Any, out: Any, below: Any
) -> None:
    for p in range(start, stop):
        pass_row(grad[p], y[p], gain[p % len(gain)], bounds, below[p], out[p])


@compiled
def _carry(
    start: int,
    stop: int,
    beta: Any,
    grad: Any,
    y: Any,
    shift: Any,
    bounds: Any,
    share: Any,
    lost: Any,
) -> None:
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = y.dtype.type(0)
    for p in range(start, stop):
        b, g, v, s, constant = beta[p], grad[p], y[p], share[p], shift[p % len(shift)]
        left = zero
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            s[i] = b[i] + g[i] * constant if inside else zero
            kept = zero if inside else b[i] + g[i] * h
            left += abs(kept)
        lost[p] = left


@compiled
def _carry_beta(
    start: int, stop: int, beta: Any, y: Any, bounds: Any, share: Any, lost: Any
) -> None:
    low, high = bounds[0], bounds[1]
    zero = y.dtype.type(0)
    for p in range(start, stop):
        b, v, s = beta[p], y[p], share[p]
        left = zero
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            given = b[i] if inside else zero
            left += abs(b[i] - given)
            s[i] = given
        lost[p] = left


@compiled
def _strand(start: int, stop: int, beta: Any, grad: Any, y: Any, bounds: Any, out: Any) -> None:
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = y.dtype.type(0)
    for p in range(start, stop):
        b, g, v, o = beta[p], grad[p], y[p], out[p]
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            o[i] = zero if inside else b[i] + g[i] * h


@compiled
def _share(
    start: int, stop: int, beta: Any, grad: Any, y: Any, shift: Any, bounds: Any, least: Any,
    total: Any, left: Any
) -> None:  # fmt: skip
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    relative, absolute = least[0], least[1]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for p in range(start, stop):
        b, g, v, d, constant = beta[p], grad[p], y[p], total[p], shift[p % len(shift)]
        size = zero
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            tau = b[i] + g[i] * (constant if inside else h)
            # A number in place of a choice: a sum of choices would be taken one by one.
            lives = one if inside & (d[i] > max(absolute, relative * abs(tau))) else zero
            size += abs(tau) * (one - lives)
            d[i] = tau * lives / (d[i] if lives != zero else one)
        left[p] = size


@compiled
def _keep_back(
    start: int, stop: int, beta: Any, grad: Any, y: Any, shift: Any, bounds: Any, share: Any,
    out: Any
) -> None:  # fmt: skip
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = y.dtype.type(0)
    for p in range(start, stop):
        b, g, v, d, o, constant = beta[p], grad[p], y[p], share[p], out[p], shift[p % len(shift)]
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            tau = b[i] + g[i] * (constant if inside else h)
            o[i] = tau if d[i] == zero else zero


def _run(kernel: Kernel, like: Tensor, *arguments: Any) -> None:
    run(kernel, like.shape[0] * like.shape[1], like.numel(), *arguments)


def weigh(grad: Tensor, y: Tensor, bounds: Tensor) -> Tensor:
    """The sums of each plane that a ledger needs.

    Args:
        grad: ``(N, C, *space)`` gradient behind the bend.
        y: Like it, the value there.
        bounds: ``(4,)`` low, high, and the constants that are held at and beyond them.

    Returns:
        ``(N, C, 5)``: the sums of ``G h`` and ``|G h|``, where the unit passes on those of ``G``
        and ``|G|``, and 0, or NaN where an entry of y is not finite.
    """
    return pass_back(grad, y, None, bounds)[1]


def saw_finite(sums: Tensor) -> bool:
    """Whether all entries of y were finite, by what `weigh` returned."""
    return not any_in(sums.numpy()[..., 4])


def pass_back(
    grad: Tensor, y: Tensor, gain: Tensor | None, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient below the bend and a slope, with the sums of `weigh`.

    Args:
        grad: As in `weigh`.
        y: Likewise.
        gain: ``(C,)`` the slope, None for 1.
        bounds: As in `weigh`.

    Returns:
        ``1[passes] G gain`` like y, and what `weigh` returns.
    """
    below, values = blank(y), planes(y)
    out = np.empty((len(values), 5), values.dtype)
    slopes = slopes_of(gain, y)
    _run(_pass_back, y, planes(grad), values, slopes, bounds.numpy(), out, planes(below))
    return below, torch.from_numpy(out.reshape(*y.shape[:2], 5))


def carry(
    beta: Tensor | None, grad: Tensor | None, y: Tensor, shift: Tensor, bounds: Tensor
) -> tuple[Tensor, Tensor]:
    """The bias that goes on below the bend, ``1[passes] (beta + G shift)``.

    Args:
        beta: ``(N, C, *space)`` what arrived above the bend, None for nothing.
        grad: Like it, None where no constant is put in.
        y: Like it.
        shift: ``(C,)`` the constant below the bend.
        bounds: As in `weigh`.

    Returns:
        That, and for each plane ``(N, C)`` the sum of ``|beta + G h|`` where units hold a bound.
    """
    share, lost = blank(y), y.new_empty(y.shape[0] * y.shape[1])
    end = bounds.numpy(), planes(share), lost.numpy()
    if grad is None:
        if beta is None:
            raise ValueError("beta and grad are both None: there is nothing to carry.")
        _run(_carry_beta, y, planes(beta), planes(y), *end)
    else:
        arrived = planes(_or_nothing(beta, y))
        _run(_carry, y, arrived, planes(grad), planes(y), shift.numpy(), *end)
    return share, lost.reshape(y.shape[:2])


def strand(beta: Tensor | None, grad: Tensor | None, y: Tensor, bounds: Tensor) -> Tensor:
    """The bias of the units that hold a bound, ``beta + G h``, 0 elsewhere; as in `carry`."""
    out = blank(y)
    arrays = [planes(t) for t in (_or_nothing(beta, y), _or_nothing(grad, y), y)]
    _run(_strand, y, *arrays, bounds.numpy(), planes(out))
    return out


def share(
    bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    total: Tensor,
    least: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The bias below a bend over a total, in place of the total.

    Args:
        bent: As in `carry`: beta, grad, y, shift and bounds.
        total: Like y, not negative; it is written over.
        least: As in `biasmatters.kernels.shares.divide`.

    Returns:
        The quotient; the size of the bias that was not shared out because a unit holds a bound or
        has no total, ``(N,)``; and that bias, like y, None for nothing.
    """
    beta, grad, y, shift, bounds = bent
    arrays = [planes(beta), planes(grad), planes(y), shift.numpy(), bounds.numpy()]
    quotient, left = total.contiguous(), y.new_empty(y.shape[0] * y.shape[1])
    limits = limits_of(least, arrays[0])
    _run(_share, y, *arrays, limits, planes(quotient), left.numpy())
    mass = left.reshape(y.shape[:2]).sum(1)
    if not any_in(mass.numpy()):
        return quotient, mass, None
    kept = blank(y)
    _run(_keep_back, y, *arrays, planes(quotient), planes(kept))
    return quotient, mass, kept


def _or_nothing(values: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if values is None else values
