"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from biasmatters.affine.call import Call, finite
from biasmatters.affine.errors import SampleAxisError
from biasmatters.affine.form import Form, Split, routing
from biasmatters.affine.maps.branches import BranchMap
from biasmatters.affine.maps.separable import SeparableMap
from biasmatters.affine.maps.totals import TotalMap
from biasmatters.affine.registry import handles


def reduced_axes(call: Call, dim: int | Sequence[int] | None) -> list[int]:
    """The axes a reduction runs over, none of them the sample axis of a real batch."""
    rank = call.inputs[0].ndim
    # Torch takes no axis for all of them.
    dims = [dim] if isinstance(dim, int) else dim or range(rank)
    axes = sorted({d % rank for d in dims})
    if call.samples > 1 and call.axes[0] in axes:
        raise SampleAxisError(
            f"'{call.op}' in '{call.name}' reduces over the samples of the batch; "
            "explain one sample at a time with internal_batch_size=1."
        )
    return axes


def by_matrices(call: Call, matrices: dict[int, Tensor]) -> Form:
    """A separable mixing operation whose output may lack the axes it reduced to one."""
    x = call.inputs[0]
    shape = list(x.shape)
    for axis, matrix in matrices.items():
        shape[axis] = matrix.shape[0]

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        mixed = SeparableMap(matrices)
        return (split.mix(mixed, x.detach(), tau.reshape(shape), call.axes[0]),)

    return Form("mixing", pull, lambda: None, foldable=True)


def in_one(call: Call, axes: Sequence[int], *, mean: bool) -> Form:
    """A sum or a mean over whole axes, which the output may lack."""
    x = call.inputs[0]
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    count = prod(x.shape[axis] for axis in axes)
    made = TotalMap(tuple(axes), 1 / max(count, 1) if mean else 1.0)

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        return (split.mix(made, x.detach(), tau.reshape(shape), call.axes[0]),)

    def transpose(grad: Tensor) -> tuple[Tensor, ...]:
        return (made.back(grad.reshape(shape), x),)

    alike = x.dtype == call.output.dtype
    return Form("mixing", pull, lambda: None, foldable=True, transpose=transpose if alike else None)


@handles("mean", "sum")
def total(call: Call) -> Form:
    """Sums and averages along axes."""
    axes = reduced_axes(call, call.arg(1, "dim", call.kwargs.get("axis")))
    if not axes:
        return by_matrices(call, {})
    return in_one(call, axes, mean=call.op == "mean")


@handles("cumsum")
def running_total(call: Call) -> Form:
    """Cumulative sum along an axis: a lower triangular matrix of ones."""
    (axis,) = reduced_axes(call, call.arg(1, "dim"))
    x = call.inputs[0]
    size = x.shape[axis]
    return by_matrices(call, {axis: torch.ones(size, size, dtype=x.dtype, device=x.device).tril()})


@handles("amax", "amin")
def extreme(call: Call) -> Form:
    """The largest or smallest along axes; ties as autograd splits them."""
    sign = 1 if "max" in call.op else -1

    def gap() -> Tensor:
        rows, back = _rows(sign * call.inputs[0].detach(), call.arg(1, "dim"))
        best = rows.amax(-1, keepdim=True)
        return back((best.squeeze(-1) - rows.masked_fill(rows == best, -torch.inf).amax(-1)) / 2)

    return routing(call, gap=gap)


@handles("topk", "sort", "kthvalue", "median", "msort")
def ordered(call: Call) -> Form:
    """Values chosen by their order; ties as autograd splits them."""
    place = 2 if call.op in ("topk", "kthvalue") else 1
    whole = call.op == "median" and call.arg(1, "dim") is None
    dim = 0 if call.op == "msort" else None if whole else call.arg(place, "dim", -1)

    def gap() -> Tensor:
        rows, back = _rows(call.inputs[0].detach(), dim)
        steps = rows.sort(-1).values.diff(
            dim=-1, append=rows.new_full((*rows.shape[:-1], 1), torch.inf)
        )
        return back(steps.masked_fill(steps == 0, torch.inf).amin(-1) / 2)

    return routing(call, gap=gap)


def _rows(x: Tensor, dim: int | Sequence[int] | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The axes of a reduction made the last one, and what spreads its result over x again.

    Exact ties do not count for a gap: in real networks they are dead units, which stay equal.
    """
    dims = range(x.ndim) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
    axes = sorted({d % x.ndim for d in dims})
    rest = [a for a in range(x.ndim) if a not in axes]
    rows = x.permute([*rest, *axes]).reshape(*(x.shape[a] for a in rest), -1)

    def back(values: Tensor) -> Tensor:
        for axis in axes:
            values = values.unsqueeze(axis)
        return values.expand(x.shape)

    return rows, back


@handles("norm", "vector_norm", "linalg_vector_norm", "linalg_norm", "var", "std", "logsumexp",
         "prod")  # fmt: skip
def smooth_reduction(call: Call) -> Form:
    """A smooth function of the entries along axes, to first order: ``e[p, q] = J[p, q] x[q]``."""
    x = call.inputs[0].detach()
    place = 2 if "norm" in call.op else 1
    dim = call.arg(place, "dim")
    # ``x.var(False)`` gives no axis but whether to correct the variance.
    axes = reduced_axes(call, None if isinstance(dim, bool) else dim)
    rest = [a for a in range(x.ndim) if a not in axes]
    shape = [*(x.shape[a] for a in rest), -1]

    def gathered(values: Tensor) -> Tensor:
        return values.permute([*rest, *axes]).reshape(shape)

    def slopes() -> Tensor:
        return call.vjp(torch.ones_like(call.output))[0]

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        rows = gathered(x)
        axis = rest.index(call.axes[0]) if call.samples > 1 else 0
        pulled = split.mix(BranchMap(gathered(slopes())), rows, tau.reshape(rows.shape[:-1]), axis)
        wide = pulled.reshape([x.shape[a] for a in [*rest, *axes]])
        return (wide.permute([[*rest, *axes].index(a) for a in range(x.ndim)]),)

    def intercept() -> Tensor:
        linear = (slopes() * finite(x)).sum(axes, keepdim=True)
        return call.output.detach() - linear.reshape(call.output.shape)

    return Form("smooth", pull, intercept, None, False)
