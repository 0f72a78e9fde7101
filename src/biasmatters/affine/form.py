"""The local affine form of one recorded operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from biasmatters.affine.call import Call, finite
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.law import Law
from biasmatters.affine.masks import none_left
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.sealed import sealed

Kind = Literal["mixing", "elementwise", "routing", "smooth"]


class Split(Protocol):
    """What the walk lends a form: a rule to split with, and a place for orphaned bias."""

    def mix(
        self,
        mixing: Mixing,
        x: Tensor,
        tau: Tensor,
        axis: int | None = None,
        home: int | None = None,
    ) -> Tensor:
        """Split tau (like the map's output) over the map's inputs by the rule.

        ``axis`` is where tau's samples lie, if not where the recorded output's do, and ``home``
        where those of x lie, if not where tau's do.
        """
        ...

    def meet(
        self, values: Sequence[Tensor], coefficients: Sequence[Tensor | float], tau: Tensor
    ) -> tuple[Tensor, ...]:
        """Split tau over the tensors that meet in each unit, times their coefficients."""
        ...

    def spread(self, call: Call, *orphans: Tensor) -> tuple[Tensor, ...]:
        """Spread the bias of units without any tracked input over the call's inputs.

        ``orphans`` are parts of the output, or one tensor like it.
        """
        ...

    def spread_sums(self, call: Call, total: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """The same for orphans of which only the sums are known, ``(N,)``, and of their sizes."""
        ...


Pull = Callable[[Tensor, Split], tuple[Tensor, ...]]


@sealed
class Form:
    """``output = J inputs + intercept`` around the recorded point.

    Attributes:
        kind: What sort of operation it is.
        pull: Hands the bias attribution tau (like the output) to the inputs, one tensor each.
        intercept: The constant part, broadcastable to the output, or None for zero.
        slope: For one-to-one operations, the derivative, so it can be folded into the mixing
            operation before it; None where there is none.
        exact: Whether the operation is piecewise linear at this point.
        gap: Distance of each unit to the nearest boundary of its linear piece, NaN if not
            measured; None without boundaries.
        foldable: Whether slopes that follow scale the contributions of its units.
        law: The same in a few numbers, where it can be said so; of a mixing operation, its bias.
        maker: Of an operation that mixes its only input as it is, the map.
        transpose: The gradients at the inputs for one at the output, where autograd is slower.
    """

    kind: Kind
    pull: Pull
    intercept: Callable[[], Tensor | None]
    slope: Callable[[], Tensor] | None = None
    exact: bool = True
    gap: Callable[[], Tensor] | None = None
    foldable: bool = False
    law: Law | None = None
    maker: Callable[[], Mixing] | None = None
    transpose: Callable[[Tensor], tuple[Tensor, ...]] | None = None


def nothing() -> None:
    """The intercept of a linear operation."""


def unknown_gap(call: Call) -> Tensor:
    """NaN for each unit: there are boundaries, but their distance is not measured."""
    return torch.full_like(call.output, torch.nan).detach()


def require_one_input(call: Call) -> None:
    """Refuse a one-to-one operation whose parameters depend on the input as well."""
    if len(call.inputs) != 1:
        raise UnsupportedOperationError(
            call.name, call.op, f"{len(call.inputs)} of its arguments depend on the input, not one"
        )


def elementwise(
    call: Call,
    slope: Callable[[], Tensor],
    intercept: Callable[[], Tensor | None] = nothing,
    *,
    gap: Callable[[], Tensor] | None = None,
    law: Law | None = None,
) -> Form:
    """Each output depends on one input: its bias passes to that input whole."""
    require_one_input(call)

    def pull(tau: Tensor, _: Split) -> tuple[Tensor, ...]:
        return (tau.sum_to_size(call.inputs[0].shape),)

    return Form("elementwise", pull, intercept, slope, True, gap, law=law)


def smooth(call: Call, *, slope: Callable[[], Tensor] | None = None, exact: bool = False) -> Form:
    """A first-order operation whose unit p keeps its bias at input p.

    The intercept is ``f(z) - J z``. Where an operation mixes without fixed weights (softmax, the
    normalisations over features), ``alpha[p, q] = 1[p = q]``.
    """
    require_one_input(call)

    def pull(tau: Tensor, _: Split) -> tuple[Tensor, ...]:
        return (tau.sum_to_size(call.inputs[0].shape),)

    def intercept() -> Tensor:
        if slope is not None:
            return call.output.detach() - slope() * finite(call.inputs[0].detach())
        return call.output.detach() - call.jvp()

    return Form("smooth", pull, intercept, slope, exact)


def routing(
    call: Call,
    *,
    constant: bool = False,
    gap: Callable[[], Tensor] | None = None,
) -> Form:
    """Every output copies at most one input; the bias goes where the value came from.

    Args:
        call: The recorded call.
        constant: Whether some outputs come from constants (padding, a learned token): their
            values are intercepts, and bias that lands on them has no input to go to.
        gap: As in `Form`.
    """

    def intercept() -> Tensor | None:
        if not constant:
            return None
        return call.run([torch.zeros_like(t) for t in call.inputs]).detach()

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        pulled = call.vjp(tau)
        if not constant:
            return pulled
        zero = call.run([torch.zeros_like(t) for t in call.inputs])
        reached = call.run([torch.ones_like(t) for t in call.inputs]) != zero
        orphan = tau.masked_fill(reached, 0)
        if none_left(orphan):
            return pulled
        spread = split.spread(call, orphan)
        return tuple(p + s for p, s in zip(pulled, spread, strict=True))

    return Form("routing", pull, intercept, None, True, gap)


def mixing(
    call: Call,
    maker: Callable[[], Mixing],
    intercept: Callable[[], Tensor | None] = nothing,
    *,
    law: Law | None = None,
    transpose: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
) -> Form:
    """One tracked input, mixed by known coefficients: the rule decides."""

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        return (split.mix(maker(), call.inputs[0].detach(), tau, home=call.axes[0]),)

    return Form("mixing", pull, intercept, foldable=True, law=law, maker=maker, transpose=transpose)
