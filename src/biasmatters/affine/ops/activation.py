"""Activations: piecewise linear ones exactly, smooth ones to first order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from biasmatters.affine.call import Call, finite
from biasmatters.affine.form import Form, elementwise, smooth
from biasmatters.affine.law import Bend
from biasmatters.affine.registry import handles


def derivative(call: Call) -> Tensor:
    """Autograd's own derivative of a one-to-one function, like its output."""
    z = call.inputs[0].detach()
    wide = z.expand(call.output.shape).clone().requires_grad_()
    with torch.enable_grad():
        out = call.run([wide])
    return torch.autograd.grad(out, wide, torch.ones_like(out))[0]


def piecewise(call: Call, knots: Sequence[float | Tensor]) -> Form:
    """A piecewise linear function with its bends at ``knots``: ``h = f(z) - f'(z) z``."""
    z = call.inputs[0].detach()

    def intercept() -> Tensor:
        return call.output.detach() - derivative(call) * finite(z)

    def gap() -> Tensor:
        smallest = (z - knots[0]).abs()
        for knot in knots[1:]:
            smallest = torch.minimum(smallest, (z - knot).abs())
        return smallest

    return elementwise(call, lambda: derivative(call), intercept, gap=gap)


def between(call: Call, low: float, high: float) -> Form:
    """The identity between two bounds: slope ``1[low < z < high]``, and else its bound itself."""
    z = call.inputs[0].detach()

    def inside(values: Tensor) -> Tensor:
        """The values where z is between the bounds, 0 elsewhere: torch's own derivative."""
        return torch.ops.aten.hardtanh_backward(values, z, low, high)  # type: ignore[no-any-return]

    def slope() -> Tensor:
        return inside(torch.ones((), dtype=z.dtype, device=z.device).expand_as(z))

    def gap() -> Tensor:
        return torch.minimum((z - low).abs_(), (z - high).abs_())

    def intercept() -> Tensor:
        """The bound itself where the value is cut off."""
        value = call.output.detach()
        return value - inside(value)

    law = Bend(float(low), float(high)) if low < high else None
    return elementwise(call, slope, intercept, gap=gap, law=law)


_RELU = Bend(low=0.0, holds=False)


@handles("relu")
def relu(call: Call) -> Form:
    """``max(z, 0)``: slope ``1[z > 0]``, no intercept."""

    def gap() -> Tensor:
        return call.inputs[0].detach().abs()

    return elementwise(call, lambda: call.output.detach().sign(), gap=gap, law=_RELU)


@handles("leaky_relu", "prelu", "abs")
def through_origin(call: Call) -> Form:
    """Piecewise linear with one bend, at 0, and no intercept."""
    z = call.inputs[0].detach()
    return elementwise(call, lambda: derivative(call), gap=z.abs)


@handles("rrelu")
def rrelu(call: Call) -> Form:
    """In evaluation a leaky ReLU with the mean slope."""
    return through_origin(call)


@handles("relu6")
def relu6(call: Call) -> Form:
    """``min(max(z, 0), 6)``."""
    return between(call, 0.0, 6.0)


@handles("hardtanh")
def hardtanh(call: Call) -> Form:
    """``min(max(z, low), high)``."""
    return between(call, call.arg(1, "min_val", -1.0), call.arg(2, "max_val", 1.0))


@handles("clamp", "clip", "clamp_min", "clamp_max")
def clamp(call: Call) -> Form:
    """``min(max(z, low), high)`` with either bound absent."""
    low = call.arg(1, "min") if call.op != "clamp_max" else None
    high = call.arg(1 if call.op == "clamp_max" else 2, "max")
    return piecewise(call, [knot for knot in (low, high) if knot is not None])


@handles("threshold")
def threshold(call: Call) -> Form:
    """Above the threshold z, else a constant."""
    return piecewise(call, (call.arg(1, "threshold"),))


@handles("hardsigmoid")
def hardsigmoid(call: Call) -> Form:
    """``min(max(z / 6 + 1/2, 0), 1)``."""
    return piecewise(call, (-3.0, 3.0))


@handles("hardshrink", "softshrink")
def shrink(call: Call) -> Form:
    """Zero within ``[-lambda, lambda]``; outside z, or z moved towards 0 by lambda."""
    bound = call.arg(1, "lambd", 0.5)
    return piecewise(call, (-bound, bound))


@handles("hardswish")
def hardswish(call: Call) -> Form:
    """0 below -3, z above 3 (exact there), and ``z (z + 3) / 6`` between (first-order)."""
    form = piecewise(call, (-3.0, 3.0))
    curved = bool((call.inputs[0].detach().abs() < 3).any())
    return Form("elementwise", form.pull, form.intercept, form.slope, not curved, form.gap)


def to_integers(values: Tensor) -> Tensor:
    """Distance to the nearest whole number, where floor and its kin jump."""
    return (values - values.round()).abs()


@handles("sign", "sgn", "floor", "ceil", "round", "trunc", "fix", "heaviside")
def step(call: Call) -> Form:
    """Piecewise constant: the whole value is intercept."""
    z = call.inputs[0].detach()
    to_zero = call.op in ("sign", "sgn", "heaviside")
    half = 0.5 if call.op == "round" else 0.0

    decimals = call.arg(1, "decimals", 0) if call.op == "round" else 0
    grid = 10.0 ** (decimals or 0)

    def gap() -> Tensor:
        return z.abs() if to_zero else to_integers(z * grid + half) / grid

    zero = torch.zeros_like(call.output)
    return elementwise(call, lambda: zero, lambda: call.output.detach(), gap=gap)


@handles(
    "gelu", "silu", "elu", "celu", "selu", "mish", "tanh", "sigmoid", "softplus", "softsign",
    "logsigmoid", "tanhshrink", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt",
    "rsqrt", "pow", "square", "reciprocal", "sin", "cos", "erf", "rpow", "logit", "atan",
    "special_expit",
)  # fmt: skip
def one_to_one(call: Call) -> Form:
    """A smooth function of one input: ``h = f(z) - f'(z) z``."""
    return smooth(call, slope=lambda: derivative(call))


@handles("dropout", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
         "dropout1d", "dropout2d", "dropout3d")  # fmt: skip
def dropout(call: Call) -> Form:
    """The identity in evaluation; the tape refuses it in training."""
    return identity(call)


@handles(
    "clone", "contiguous", "to", "type", "float", "double", "half", "bfloat16", "alias", "type_as",
    "cpu", "cuda", "positive", "_to_copy", "requires_grad",
)  # fmt: skip
def identity(call: Call) -> Form:
    """The value as it is, perhaps in another dtype or layout."""
    return elementwise(
        call, lambda: torch.ones((), dtype=call.output.dtype, device=call.output.device)
    )
