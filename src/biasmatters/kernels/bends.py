"""What a bend between two bounds does to bias, plane by plane, in one pass over memory.

A plane is one channel of one sample. With the value y behind the bend, the gradient G there and the
bias beta that arrived: where ``low < y < high`` the unit passes on, elsewhere it holds a bound h.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from biasmatters.kernels.machine_code import Kernel, compiled, planes, run


@compiled
def _weigh(start: int, stop: int, grad: Any, y: Any, bounds: Any, out: Any) -> None:
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = bounds[2] * 0
    for p in range(start, stop):
        g, v = grad[p], y[p]
        held, held_size, passed, passed_size, nothing = zero, zero, zero, zero, zero
        for i in range(len(g)):
            inside = (v[i] > low) & (v[i] < high)
            m = g[i] if inside else zero
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            held += g[i] * h
            held_size += abs(g[i] * h)
            passed += m
            passed_size += abs(m)
            nothing += v[i] * zero
        out[p, 0], out[p, 1], out[p, 2], out[p, 3] = held, held_size, passed, passed_size
        out[p, 4] = nothing


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
    zero = bounds[2] * 0
    for p in range(start, stop):
        b, g, v, s, constant = beta[p], grad[p], y[p], share[p], shift[p % len(shift)]
        left = zero
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            s[i] = b[i] + g[i] * constant if inside else zero
            left += zero if inside else abs(b[i] + g[i] * h)
        lost[p] = left


@compiled
def _carry_beta(
    start: int, stop: int, beta: Any, y: Any, bounds: Any, share: Any, lost: Any
) -> None:
    low, high = bounds[0], bounds[1]
    zero = bounds[2] * 0
    for p in range(start, stop):
        b, v, s = beta[p], y[p], share[p]
        left = zero
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            s[i] = b[i] if inside else zero
            left += zero if inside else abs(b[i])
        lost[p] = left


@compiled
def _strand(start: int, stop: int, beta: Any, grad: Any, y: Any, bounds: Any, out: Any) -> None:
    low, high, at_low, at_high = bounds[0], bounds[1], bounds[2], bounds[3]
    zero = bounds[2] * 0
    for p in range(start, stop):
        b, g, v, o = beta[p], grad[p], y[p], out[p]
        for i in range(len(v)):
            inside = (v[i] > low) & (v[i] < high)
            h = at_low if v[i] <= low else (at_high if v[i] >= high else zero)
            o[i] = zero if inside else b[i] + g[i] * h


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
    out = grad.new_empty(grad.shape[0] * grad.shape[1], 5)
    _run(_weigh, grad, planes(grad), planes(y), bounds.numpy(), out.numpy())
    return out.reshape(*grad.shape[:2], 5)


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
    share, lost = y.new_empty(y.shape), y.new_empty(y.shape[0] * y.shape[1])
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
    out = y.new_empty(y.shape)
    arrays = [planes(t) for t in (_or_nothing(beta, y), _or_nothing(grad, y), y)]
    _run(_strand, y, *arrays, bounds.numpy(), planes(out))
    return out


def _or_nothing(values: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if values is None else values
