"""Sums, differences, products and choices of tensors and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.call import Call, finite
from biasmatters.affine.form import (
    Form,
    Kind,
    Split,
    elementwise,
    nothing,
    routing,
    smooth,
)
from biasmatters.affine.law import PerChannel
from biasmatters.affine.ops.activation import to_integers
from biasmatters.affine.ops.reduce import extreme
from biasmatters.affine.registry import decomposes, handles


def constant(value: Any, like: Tensor) -> Tensor:
    """A number or tensor in the dtype and on the device of another."""
    if isinstance(value, Tensor):
        return value.detach().to(like)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def branches(
    call: Call, values: list[Tensor], coefficients: list[Any], *, product: bool = False
) -> Form:
    """Several tensors meet in one unit: the rule splits the unit's bias over them.

    Args:
        call: The recorded call.
        values: The tensors that meet, each one of the call's inputs.
        coefficients: The derivative of the output by each of them.
        product: Whether the coefficients depend on the input (first-order).
    """
    shape = call.output.shape

    def given(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the branches get, as the inputs that they are made of."""
        table: dict[int, Tensor] = {}
        for value, part in zip(values, parts, strict=True):
            part = part.sum_to_size(value.shape)
            table[id(value)] = table[id(value)] + part if id(value) in table else part
        return tuple(table[id(t)] for t in call.inputs)

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        return given(split.meet(values, coefficients, tau.reshape(shape)))

    def transpose(grad: Tensor) -> tuple[Tensor, ...]:
        parts = given([_times(grad, c) for c in coefficients])
        return tuple(part.to(t.dtype) for part, t in zip(parts, call.inputs, strict=True))

    def intercept() -> Tensor:
        linear = sum(
            (
                constant(c, call.output) * finite(v.detach())
                for c, v in zip(coefficients, values, strict=True)
            ),
            torch.zeros((), dtype=call.output.dtype, device=call.output.device),
        )
        return call.output.detach() - linear

    kind: Kind = "smooth" if product else "mixing"
    return Form(
        kind,
        pull,
        intercept if product else nothing,
        None,
        not product,
        foldable=not product,
        law=None if product else PerChannel(),
        transpose=transpose,
    )


def _times(values: Tensor, factor: Any) -> Tensor:
    """A product, or the values themselves where it is by 1."""
    if isinstance(factor, Tensor):
        return values * factor.detach()
    return values if factor == 1 else values * factor


def weighted_sum(call: Call, a: Any, b: Any, factor_a: float, factor_b: float) -> Form:
    """``factor_a a + factor_b b`` of tensors or constants."""
    a_tracked, b_tracked = call.tracked(a), call.tracked(b)
    one = torch.ones((), dtype=call.output.dtype, device=call.output.device)
    if a is b:
        return elementwise(call, lambda: one * (factor_a + factor_b))
    if a_tracked and b_tracked:
        return branches(call, [a, b], [factor_a, factor_b])
    factor, rest, other = (factor_a, b, factor_b) if a_tracked else (factor_b, a, factor_a)
    return elementwise(call, lambda: one * factor, lambda: constant(rest, one) * other)


@handles("add", "sub", "subtract", "rsub")
def add_handler(call: Call) -> Form:
    """``a + alpha b``, ``a - alpha b`` and ``b - alpha a``."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    alpha = call.arg(2, "alpha", 1)
    if call.op == "rsub":
        return weighted_sum(call, a, b, -alpha, 1)
    return weighted_sum(call, a, b, 1, alpha if call.op == "add" else -alpha)


@handles("neg", "negative")
def negate(call: Call) -> Form:
    """``-x``."""
    return elementwise(call, lambda: -torch.ones_like(call.output[:0].sum()))


@handles("mul", "multiply")
def multiply(call: Call) -> Form:
    """``a b``; a product of two tracked tensors is first-order, ``h = -a b``."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    if a is b:
        return smooth(call, slope=lambda: 2 * a.detach())
    if call.tracked(a) and call.tracked(b):
        return branches(call, [a, b], [b, a], product=True)
    factor = b if call.tracked(a) else a
    return elementwise(call, lambda: constant(factor, call.output))


@handles("div", "divide", "true_divide", "rdiv")
def divide(call: Call) -> Form:
    """``a / b``; first-order where b is tracked."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    if call.op == "rdiv":
        a, b = b, a
    if call.kwargs.get("rounding_mode") is not None:
        return _rounded_ratio(call, a, b)
    if not call.tracked(b):
        return elementwise(call, lambda: 1 / constant(b, call.output))
    ratio = call.output.detach()
    if a is b:
        return smooth(call, slope=lambda: torch.zeros_like(ratio))
    if not call.tracked(a):
        return smooth(call, slope=lambda: -ratio / b.detach())
    return branches(call, [a, b], [1 / b.detach(), -ratio / b.detach()], product=True)


def _rounded_ratio(call: Call, a: Any, b: Any) -> Form:
    """A ratio rounded towards a side: constant between the whole numbers, all of it intercept."""
    zero = torch.zeros_like(call.output)

    def gap() -> Tensor:
        # By how much a would have to move; where b moves as well the distance is not measured.
        whole = to_integers(a / b) * abs(b)
        measured: Tensor = whole.detach() if not call.tracked(b) else whole.detach() * torch.nan
        return measured

    return elementwise(call, lambda: zero, lambda: call.output.detach(), gap=gap)


@handles("maximum", "minimum", "max", "min", "fmax", "fmin")
def extremum(call: Call) -> Form:
    """The larger or smaller of two tensors, or of a tensor along an axis."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    if not isinstance(b, Tensor):
        return extreme(call)
    wins = (a > b) if call.op.endswith("max") or call.op == "maximum" else (a < b)
    share_a: Tensor = wins.to(call.output.dtype) + (a == b).to(call.output.dtype) / 2

    def gap() -> Tensor:
        distance: Tensor = (a - b).detach().abs() / 2
        return distance

    if a is b:
        return elementwise(call, lambda: torch.ones_like(call.output))
    if call.tracked(a) and call.tracked(b):
        form = branches(call, [a, b], [share_a, 1 - share_a])
        return Form(form.kind, form.pull, form.intercept, None, True, gap, foldable=True)
    slope, other = (share_a, b) if call.tracked(a) else (1 - share_a, a)
    return elementwise(call, lambda: slope, lambda: (1 - slope) * other, gap=lambda: 2 * gap())


@handles("where", "masked_fill", "masked_scatter", "tril", "triu")
def select(call: Call) -> Form:
    """A choice by a mask; where the mask was found from the input, the tape has its boundary."""
    return routing(call, constant=True)


@decomposes("addcmul")
def addcmul(
    input: Tensor,  # noqa: A002 - torch's own name
    tensor1: Tensor,
    tensor2: Tensor,
    *,
    value: float = 1,
) -> Tensor:
    """``input + value a b``."""
    return input + tensor1 * tensor2 * value


@decomposes("addcdiv")
def addcdiv(
    input: Tensor,  # noqa: A002 - torch's own name
    tensor1: Tensor,
    tensor2: Tensor,
    *,
    value: float = 1,
) -> Tensor:
    """``input + value a / b``."""
    return input + tensor1 / tensor2 * value


@decomposes("lerp")
def lerp(
    input: Tensor,  # noqa: A002 - torch's own name
    end: Tensor,
    weight: Tensor | float,
) -> Tensor:
    """``input + weight (end - input)``."""
    return input + (end - input) * weight
