"""What the walk lends a form: the rule's split, the fallback, and the accounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine import speculation
from biasmatters.affine.axis import per_sample
from biasmatters.affine.bent import Bent
from biasmatters.affine.call import Call, finite
from biasmatters.affine.chain import Link, Place, place
from biasmatters.affine.device import is_apart
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.guard import surely_finite
from biasmatters.affine.maps.branches import beside
from biasmatters.affine.maps.depthwise import channels_last, is_depthwise
from biasmatters.affine.masks import any_left, left_out, none_left, passing, present_throughout
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.affine.precision import at_least_single
from biasmatters.affine.sealed import sealed
from biasmatters.affine.step import Step

Fallback = Literal["uniform", "weight", "drop"]
BranchesFunction = Callable[
    [tuple[Tensor, Tensor], tuple[float, float], Tensor],
    tuple[tuple[Tensor, Tensor], Tensor | None],
]
BentFunction = Callable[[Mixing, Tensor, Bent], tuple[Tensor, Tensor | None, Tensor | None] | None]
SplitFunction = Callable[[Mixing, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | Lost]]
Probe = Callable[[str, Mixing, Tensor, Tensor, Tensor | None], None]


@sealed
class Stranded:
    """Bias of units without any contributing input.

    Attributes:
        tau: Like the output of the operation.
        mass: ``(N,)`` the sum of its sizes.
    """

    tau: Tensor
    mass: Tensor


@dataclass
class Walk:
    """State of one walk: the rule, the folded slope of the present step and the accounts.

    Attributes:
        split: The rule's split.
        fallback: Where the bias of a unit without any contributing input goes: ``uniform`` over
            its real inputs on the support of the weights, ``weight`` in proportion to ``|W|``, or
            ``drop``: nowhere, and it is reported.
        samples: N.
        like: ``(N,)`` in the format of the accounts.
        probe: Called with every mixing operation, for diagnostics.
        branches: The rule's split of two branches, where it has one of its own.
        bent: The rule's split of bias above a bend, which sees to the fallback as well, likewise.
        fallback_mass: ``(N,)`` absolute bias that took the fallback.
        dropped: ``(N,)`` bias that was kept out of the map.
        finite: Places of tensors that are alive and known to be finite.
    """

    split: SplitFunction
    fallback: Fallback
    samples: int
    like: Tensor
    probe: Probe | None = None
    branches: BranchesFunction | None = None
    bent: BentFunction | None = None
    fallback_mass: Tensor = field(init=False)
    dropped: Tensor = field(init=False)
    finite: set[Place] = field(default_factory=set)
    _scale: Tensor | None = None
    _stranded: Stranded | None = None
    _axis: int = 0
    _label: str = ""

    def __post_init__(self) -> None:
        self.fallback_mass = torch.zeros_like(self.like)
        self.dropped = torch.zeros_like(self.like)

    def enter(
        self, step: Step | Link, scale: Tensor | None, stranded: Stranded | None = None
    ) -> None:
        """Prepare for one step's pull.

        Args:
            step: Whose pull.
            scale: The slope that is folded into it.
            stranded: Bias of its units that is none of the pull's.
        """
        self._stranded = stranded
        self._scale, self._axis, self._label = scale, step.node.axis, step.label

    def mix(
        self,
        mixing: Mixing,
        x: Tensor,
        tau: Tensor,
        axis: int | None = None,
        home: int | None = None,
    ) -> Tensor:
        """Split by the rule; units without any contribution go by the fallback."""
        axis = self._axis if axis is None else axis
        home = axis if home is None else home
        if not self._is_finite(x):
            x = finite(x)
        # Under autocast a layer's output, and so its bias, has another dtype than its input.
        alike = x.dtype == tau.dtype
        dtype = at_least_single(x.dtype if alike else torch.promote_types(x.dtype, tau.dtype))
        x, tau, scale = x.to(dtype), tau.to(dtype), self._scale
        if scale is not None:
            scale = (scale if scale.shape == tau.shape else scale.reshape(tau.shape)).to(dtype)
        if self.probe is not None:
            self.probe(self._label, mixing, x, tau, scale)
        if is_apart(x) or not is_depthwise(mixing) or kernels.fit(x, tau):
            return self._split(mixing, x, tau, scale, axis, home)
        scale = None if scale is None else channels_last(scale)
        beta = self._split(mixing, channels_last(x), channels_last(tau), scale, axis, home)
        return beta.contiguous() if x.is_contiguous() else beta

    def mix_bent(self, mixing: Mixing, link: Link, bent: Bent) -> tuple[Tensor, ...] | None:
        """Split bias above a bend, where the rule can; None if it has to be written out first."""
        if self.bent is None or self.probe is not None or self.fallback != "uniform":
            return None
        x = link.node.call.inputs[0].detach()
        if x.dtype != bent.y.dtype or not link.passes:
            return None
        if not self._is_finite(x):
            return None
        found = self.bent(mixing, x, bent)
        if found is None:
            return None
        beta, mass, orphans = found
        beta = beta.contiguous()  # it is written to
        if mass is not None:
            self.fallback_mass += mass
        if orphans is not None:
            amount = orphans * self.samples / x.numel()
            beta.add_(self._broadcast(amount, x, self._axis))
        return (beta,)

    def meet(
        self, values: Sequence[Tensor], coefficients: Sequence[Tensor | float], tau: Tensor
    ) -> tuple[Tensor, ...]:
        """Split over branches by the rule, without laying them side by side where it can."""
        shape, axis = tau.shape, self._axis
        found = None
        if self.branches is not None and self.probe is None and len(values) == 2:
            found = self._met(self.branches, values, coefficients, tau)
        if found is None:
            made, stacked = beside(values, coefficients, shape)
            return self.mix(made, stacked, tau).unbind(-1)
        betas, lost = found
        stranded = self._with(lost, axis)
        if stranded is None:
            return betas
        made, stacked = beside(values, coefficients, shape)
        parts = self._fall_back(made, stacked, stranded, axis, axis).unbind(-1)
        return tuple(beta + part for beta, part in zip(betas, parts, strict=True))

    def _met(
        self,
        branches: BranchesFunction,
        values: Sequence[Tensor],
        coefficients: Sequence[Tensor | float],
        tau: Tensor,
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None] | None:
        numbers = [float(c) for c in coefficients if not isinstance(c, Tensor)]
        alike = all(value.shape == tau.shape for value in values) and kernels.fit(tau, *values)
        if len(numbers) < 2 or not alike or passing(self._scale) is not None:
            return None
        a, b = (value.detach() for value in values)
        if not all(map(self._is_finite, (a, b))):
            return None
        return branches((a, b), (numbers[0], numbers[1]), tau)

    def copy(self) -> Walk:
        """The same with accounts of its own."""
        made = copy(self)
        made.fallback_mass, made.dropped = self.fallback_mass.clone(), self.dropped.clone()
        made.finite = set(self.finite)
        return made

    def spread(self, call: Call, *orphans: Tensor) -> tuple[Tensor, ...]:
        """Share the bias of units that have no input evenly over all inputs of the sample."""
        sums = [per_sample(orphan, self._axis, self.samples) for orphan in orphans]
        sizes = [per_sample(orphan.abs(), self._axis, self.samples) for orphan in orphans]
        return self.spread_sums(call, torch.stack(sums).sum(0), torch.stack(sizes).sum(0))

    def spread_sums(self, call: Call, total: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """The same for orphans of which only the sums are known, ``(N,)``, and of their sizes."""
        self.fallback_mass += size
        if self.fallback == "drop":
            self.dropped += total
            return tuple(torch.zeros_like(x) for x in call.inputs)
        units = sum(x.numel() for x in call.inputs) / self.samples
        return tuple(
            self._broadcast(total / units, x, axis)
            for x, axis in zip(call.inputs, call.axes, strict=True)
        )

    def _is_finite(self, x: Tensor) -> bool:
        """Whether all entries are finite, as far as one can tell, or are taken to be."""
        if place(x) in self.finite:
            return True
        assumed = speculation.current()
        if assumed is None or x.is_complex():
            return surely_finite(x)
        assumed.finite(x)
        return True

    def _split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None, axis: int, home: int
    ) -> Tensor:
        beta, live = self.split(mixing, x, tau, scale)
        stranded = self._with(_left(live, tau), axis)
        return beta if stranded is None else beta + self._fall_back(mixing, x, stranded, axis, home)

    def _with(self, left: Tensor | None, axis: int) -> Stranded | None:
        """The bias that was stranded before the pull, and what the rule left."""
        if left is None:
            return self._stranded
        mass = per_sample(left.abs(), axis, self.samples)
        if self._stranded is None:
            return Stranded(left, mass)
        return Stranded(self._stranded.tau + left, self._stranded.mass + mass)

    def _fall_back(
        self, mixing: Mixing, x: Tensor, stranded: Stranded, axis: int, home: int
    ) -> Tensor:
        self.fallback_mass += stranded.mass
        if self.fallback == "drop":
            self.dropped += per_sample(stranded.tau, axis, self.samples)
            return torch.zeros_like(x)
        exponent = 0 if self.fallback == "uniform" else 1
        beta, lost = hand_to_support(mixing, x, stranded.tau, exponent)
        if lost is not None:
            amount = per_sample(lost, axis, self.samples) * self.samples / x.numel()
            beta = beta + self._broadcast(amount, x, home)
        return beta

    def _broadcast(self, values: Tensor, x: Tensor, axis: int) -> Tensor:
        """One number for each sample, shown in all places of the sample."""
        if self.samples == 1:
            return values.to(x.dtype).reshape(()).expand(x.shape)
        rows = values.to(x.dtype).repeat_interleave(x.shape[axis] // self.samples)
        view = [1] * x.ndim
        view[axis] = -1
        return rows.reshape(view).expand(x.shape)


def _left(live: Tensor | Lost, tau: Tensor) -> Tensor | None:
    """The tau of units that are not live, None for none."""
    if isinstance(live, Lost):
        return live.tau
    live = live.to(tau.dtype)
    if speculation.current() is not None:
        left = left_out(tau, live)
        return None if none_left(left) else left
    if present_throughout(live) or not any(any_left(left_out(*p)) for p in pieces(tau, live)):
        return None
    return left_out(tau, live)
