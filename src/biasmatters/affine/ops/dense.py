"""Linear layers and matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.form import Form, Split, mixing
from biasmatters.affine.law import PerChannel
from biasmatters.affine.maps.dense import DenseMap, MatmulMap, RightMatmulMap
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.registry import decomposes, handles


def require_constant(call: Call, value: object, what: str) -> None:
    """Refuse a parameter that depends on the input."""
    if call.tracked(value):
        raise UnsupportedOperationError(call.name, call.op, f"its {what} depends on the input")


@handles("linear")
def linear(call: Call) -> Form:
    """``x W^T + b``; a weight ``(in,)`` leaves no axis of units."""
    weight, bias = call.arg(1, "weight"), call.arg(2, "bias")
    require_constant(call, weight, "weight")
    require_constant(call, bias, "bias")
    if weight.ndim == 1:
        row = DenseMap(weight.detach().unsqueeze(0))

        def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
            x = call.inputs[0].detach()
            return (split.mix(row, x, tau.unsqueeze(-1), home=call.axes[0]),)

        return Form("mixing", pull, lambda: bias)
    flat = call.output.ndim == 2 and (bias is None or bias.shape == weight.shape[:1])
    law = PerChannel(shift=None if bias is None else bias.detach()) if flat else None
    # Under autocast what is computed has another format than what it is computed of.
    alike = call.inputs[0].dtype == weight.dtype == call.output.dtype
    made = DenseMap(weight.detach())
    return mixing(
        call,
        lambda: made,
        lambda: bias,
        law=law,
        transpose=(lambda grad: (grad @ made.weight,)) if alike else None,
    )


@handles("matmul", "bmm", "mm", "mv", "rmatmul")
def matmul(call: Call) -> Form:
    """``a @ b``; where both are tracked it is first-order and each takes half of the bias."""
    a = call.arg(0, "input")
    b = call.arg(1, "other", call.kwargs.get("mat2", call.kwargs.get("vec")))
    if call.op == "rmatmul":
        a, b = b, a
    if call.tracked(a) and not call.tracked(b) and b.ndim == 2:
        made = DenseMap(b.detach().T)
        return mixing(call, lambda: made)
    return _product(call, a, b)


def _product(call: Call, a: Tensor, b: Tensor) -> Form:
    both = call.tracked(a) and call.tracked(b)

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        left, right = a.detach(), b.detach()
        if left.ndim == 1:
            left, tau = left.unsqueeze(0), tau.unsqueeze(-1 if right.ndim == 1 else -2)
        if right.ndim == 1:
            right, tau = right.unsqueeze(-1), tau.unsqueeze(-1)
        share = tau / 2 if both else tau

        def mixed(mixing: Mixing, x: Tensor, original: Tensor) -> Tensor:
            home = _place(call, original, x)
            axis = home + tau.ndim - x.ndim
            return split.mix(mixing, x, share, axis, home).reshape(original.shape)

        pulled: list[tuple[Tensor, Tensor]] = []
        if call.tracked(b):
            pulled.append((b, mixed(MatmulMap(left), right, b)))
        if call.tracked(a):
            pulled.append((a, mixed(RightMatmulMap(right), left, a)))
        return tuple(torch.stack([p for t, p in pulled if t is x]).sum(0) for x in call.inputs)

    if both:
        return Form("smooth", pull, lambda: -call.output.detach(), None, False)
    return Form("mixing", pull, lambda: None, foldable=True)


def _place(call: Call, original: Tensor, x: Tensor) -> int:
    """The sample axis of a factor that was made at least a matrix, counted from the left."""
    axis = next(axis for t, axis in zip(call.inputs, call.axes, strict=True) if t is original)
    # A vector's own axis is the last of a row and the first of a column.
    return axis + 1 if original.ndim == 1 and x.shape[0] == 1 and call.samples > 1 else axis


@decomposes("addmm", "baddbmm", "addmv")
def addmm(
    input: Tensor,  # noqa: A002 - torch's own name
    mat1: Tensor | None = None,
    mat2: Tensor | None = None,
    *,
    beta: float = 1,
    alpha: float = 1,
    **named: Tensor,
) -> Tensor:
    """``beta base + alpha a @ b``."""
    first = mat1 if mat1 is not None else named.get("batch1", named.get("mat"))
    second = mat2 if mat2 is not None else named.get("batch2", named.get("vec"))
    if first is None or second is None:
        raise UnsupportedOperationError("", "addmm", "a factor is missing")
    product = torch.matmul(first, second)
    return torch.add(input if beta == 1 else input * beta, product, alpha=alpha)


@decomposes("bilinear")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1^T W_o x2 + b_o`` as a linear layer, a product and a sum."""
    out, first, second = weight.shape
    wide = torch.nn.functional.linear(input1, weight.transpose(1, 2).reshape(out * second, first))
    product = wide.reshape(*input1.shape[:-1], out, second) * input2.unsqueeze(-2)
    total = product.sum(-1)
    return total if bias is None else total + bias
