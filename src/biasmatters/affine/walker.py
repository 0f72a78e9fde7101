"""What the walk lends a form: the rule's split, the fallback, and the accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from biasmatters.affine.axis import labels, per_sample
from biasmatters.affine.call import Call, finite
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.depthwise import channels_last, is_depthwise
from biasmatters.affine.masks import any_left, left_out, present_throughout
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.affine.precision import at_least_single
from biasmatters.affine.recording import Step

Fallback = Literal["uniform", "weight", "drop"]
SplitFunction = Callable[[Mixing, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
Probe = Callable[[str, Mixing, Tensor, Tensor, Tensor | None], None]


@dataclass
class Walk:
    """State of one walk: the rule, the folded slope of the present step and the accounts.

    Attributes:
        split: The rule's split.
        fallback: Where the bias of a unit without any contributing input goes: ``uniform`` over
            its real inputs on the support of the weights, ``weight`` in proportion to ``|W|``, or
            ``drop``: nowhere, and it is reported.
        samples: N.
        probe: Called with every mixing operation, for diagnostics.
        fallback_mass: ``(N,)`` absolute bias that took the fallback.
        dropped: ``(N,)`` bias that was kept out of the map.
    """

    split: SplitFunction
    fallback: Fallback
    samples: int
    like: Tensor
    probe: Probe | None = None
    fallback_mass: Tensor = field(init=False)
    dropped: Tensor = field(init=False)
    _scale: Tensor | None = None
    _axis: int = 0
    _label: str = ""

    def __post_init__(self) -> None:
        self.fallback_mass = torch.zeros_like(self.like)
        self.dropped = torch.zeros_like(self.like)

    def enter(self, step: Step, scale: Tensor | None) -> None:
        """Prepare for one step's pull."""
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
        if not bool(x.sum().isfinite()):
            x = finite(x)
        # Under autocast a layer's output, and so its bias, has another dtype than its input.
        dtype = at_least_single(torch.promote_types(x.dtype, tau.dtype))
        x, tau = x.to(dtype), tau.to(dtype)
        scale = None if self._scale is None else self._scale.reshape(tau.shape).to(dtype)
        if self.probe is not None:
            self.probe(self._label, mixing, x, tau, scale)
        if x.device.type != "cpu" or not is_depthwise(mixing):
            return self._split(mixing, x, tau, scale, axis, home)
        scale = None if scale is None else channels_last(scale)
        beta = self._split(mixing, channels_last(x), channels_last(tau), scale, axis, home)
        return beta.contiguous() if x.is_contiguous() else beta

    def spread(self, call: Call, *orphans: Tensor) -> tuple[Tensor, ...]:
        """Share the bias of units that have no input evenly over all inputs of the sample."""
        sums = [per_sample(orphan, self._axis, self.samples) for orphan in orphans]
        total = torch.stack(sums).sum(0)
        for orphan in orphans:
            self.fallback_mass += per_sample(orphan.abs(), self._axis, self.samples)
        if self.fallback == "drop":
            self.dropped += total
            return tuple(torch.zeros_like(x) for x in call.inputs)
        units = sum(x.numel() for x in call.inputs) / self.samples
        return tuple(
            self._broadcast(total / units, x, axis)
            for x, axis in zip(call.inputs, call.axes, strict=True)
        )

    def _split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None, axis: int, home: int
    ) -> Tensor:
        beta, live = self.split(mixing, x, tau, scale)
        live = live.to(tau.dtype)
        if present_throughout(live) or not any(any_left(left_out(*p)) for p in pieces(tau, live)):
            return beta
        return beta + self._fall_back(mixing, x, left_out(tau, live), axis, home)

    def _fall_back(
        self, mixing: Mixing, x: Tensor, stranded: Tensor, axis: int, home: int
    ) -> Tensor:
        self.fallback_mass += per_sample(stranded.abs(), axis, self.samples)
        if self.fallback == "drop":
            self.dropped += per_sample(stranded, axis, self.samples)
            return torch.zeros_like(x)
        exponent = 0 if self.fallback == "uniform" else 1
        beta, lost = hand_to_support(mixing, x, stranded, exponent)
        if lost is not None:
            amount = per_sample(lost, axis, self.samples) * self.samples / x.numel()
            beta = beta + self._broadcast(amount, x, home)
        return beta

    def _broadcast(self, values: Tensor, x: Tensor, axis: int) -> Tensor:
        if self.samples == 1:
            return values.reshape(()).expand(x.shape)
        rows = torch.arange(self.samples, device=x.device)
        return values[labels(x.shape, axis, self.samples, rows)].to(x.dtype)
