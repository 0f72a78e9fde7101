"""Linear layers and matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.form import Form, Split, mixing
from biasmatters.affine.maps.dense import DenseMap, MatmulMap
from biasmatters.affine.registry import decomposes, handles


def require_constant(call: Call, value: object, what: str) -> None:
    """Refuse a parameter that depends on the input."""
    if call.tracked(value):
        raise UnsupportedOperationError(call.name, call.op, f"its {what} depends on the input")


@handles("linear")
def linear(call: Call) -> Form:
    """``x W^T + b``."""
    weight, bias = call.arg(1, "weight"), call.arg(2, "bias")
    require_constant(call, weight, "weight")
    require_constant(call, bias, "bias")
    return mixing(call, lambda: DenseMap(weight.detach()), lambda: bias)


@handles("matmul", "bmm", "mm", "mv", "rmatmul")
def matmul(call: Call) -> Form:
    """``a @ b``; where both are tracked it is first-order and each takes half of the bias."""
    a = call.arg(0, "input")
    b = call.arg(1, "other", call.kwargs.get("mat2", call.kwargs.get("vec")))
    if call.op == "rmatmul":
        a, b = b, a
    if call.tracked(a) and not call.tracked(b) and b.ndim == 2:
        return mixing(call, lambda: DenseMap(b.detach().T))
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
        pulled: list[tuple[Tensor, Tensor]] = []
        if call.tracked(b):
            pulled.append((b, split.mix(MatmulMap(left), right, share).reshape(b.shape)))
        if call.tracked(a):
            turned = split.mix(MatmulMap(right.mT), left.mT, share.mT)
            pulled.append((a, turned.mT.reshape(a.shape)))
        return tuple(torch.stack([p for t, p in pulled if t is x]).sum(0) for x in call.inputs)

    if both:
        return Form("smooth", pull, lambda: -call.output.detach(), None, False)
    return Form("mixing", pull, lambda: None)


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
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1^T W_o x2 + b_o`` as a linear layer, a product and a sum."""
    out, first, second = weight.shape
    wide = torch.nn.functional.linear(x1, weight.transpose(1, 2).reshape(out * second, first))
    product = wide.reshape(*x1.shape[:-1], out, second) * x2.unsqueeze(-2)
    total = product.sum(-1)
    return total if bias is None else total + bias


@decomposes("einsum")
def einsum(equation: str, *operands: Any) -> Tensor:
    """One or two operands by permutes, sums and one matrix product."""
    tensors = list(operands[0]) if isinstance(operands[0], (list, tuple)) else list(operands)
    equation = equation.replace(" ", "")
    if "..." in equation or "->" not in equation or len(tensors) > 2:
        raise UnsupportedOperationError(
            "", "einsum", f"'{equation}': write it with '->', no '...', and two operands at most"
        )
    terms, out = equation.split("->")
    letters = terms.split(",")
    for i, other in enumerate(reversed(letters) if len(letters) == 2 else [""]):
        lone = [n for n, c in enumerate(letters[i]) if c not in out and c not in other]
        if lone:
            tensors[i] = tensors[i].sum(lone)
            letters[i] = "".join(c for c in letters[i] if c in out or c in other)
    if len(tensors) == 1:
        single: Tensor = tensors[0]
        return single.permute([letters[0].index(c) for c in out])
    return _contract(letters[0], letters[1], out, tensors[0], tensors[1])


def _contract(left: str, right: str, out: str, a: Tensor, b: Tensor) -> Tensor:
    size = dict(zip(left + right, (*a.shape, *b.shape), strict=True))
    batch = [c for c in out if c in left and c in right]
    inner = [c for c in left if c in right and c not in out]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]

    def shape(*groups: list[str]) -> list[int]:
        return [int(torch.tensor([size[c] for c in g]).prod()) if g else 1 for g in groups]

    first = a.permute([left.index(c) for c in [*batch, *rows, *inner]])
    second = b.permute([right.index(c) for c in [*batch, *inner, *columns]])
    lead = [size[c] for c in batch]
    product = torch.matmul(
        first.reshape(*lead, *shape(rows, inner)), second.reshape(*lead, *shape(inner, columns))
    )
    order = [*batch, *rows, *columns]
    return product.reshape([size[c] for c in order]).permute([order.index(c) for c in out])
