"""Deep Taylor decomposition, by Zennit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.recording import Recording, Step
from biasmatters.baselines.composite import STABILIZER, layered
from biasmatters.baselines.conservation import conserved
from biasmatters.baselines.coverage import matters_to_relevance
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.baselines.relevance import hand_down, propagate
from biasmatters.types import Attribution, Signal, Target

_Range = tuple[Tensor, Tensor]


class DeepTaylor:
    """The rule ``z^B`` at the layers that see the input, ``z+`` above.

    With inputs between l and h, a first layer hands on
    ``x_i w_ji - l_i w_ji+ - h_i w_ji-`` over its sum; the layers above ``x_i w_ji+`` over its sum,
    both without biases. The first layers are those that run first, whatever the order in which the
    model lists them. Relevance starts as f and the map sums to it. The decomposition is defined for
    ``f > 0``; where f is negative the same shares arrive with its sign, and mean nothing more than
    that.

    Source: Montavon, Lapuschkin, Binder, Samek, Mueller, Pattern Recognition 2017
    (arXiv 1512.02479); implementation: Zennit.

    Args:
        model: A module in evaluation mode.
        low: The smallest value that the inputs can have, a number or broadcastable to x.
        high: The largest.
        canonizers: As in `LRP`.

    Raises:
        MethodError: Without bounds.
    """

    def __init__(
        self,
        model: nn.Module,
        low: float | Tensor | None = None,
        high: float | Tensor | None = None,
        *,
        canonizers: Sequence[Any] | None = None,
    ):
        if low is None or high is None:
            raise MethodError(
                "Deep Taylor without bounds: give low= and high=, the smallest and largest value "
                "of the inputs."
            )
        if not bool((torch.as_tensor(low).cpu() <= torch.as_tensor(high).cpu()).all()):
            raise MethodError("Deep Taylor needs low <= high everywhere.")
        self.model = model
        self.low = low
        self.high = high
        self.canonizers = canonizers

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            made = propagate(question, self._composite, "Deep Taylor", canonizers=self.canonizers)
            return conserved(question, made, "Deep Taylor")

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        rules, kept = self._composite, self.canonizers
        return hand_down(
            self.model, x, rules, "Deep Taylor", start, signal, layers, canonizers=kept
        )

    def _composite(self, recording: Recording) -> Any:
        x = recording.inputs[0].detach()
        low, high = (_like(x, bound) for bound in (self.low, self.high))
        _require_within(x, low, high)
        return _composite(_first(recording, self.model, low, high))


def _like(x: Tensor, bound: float | Tensor) -> Tensor:
    try:
        return torch.as_tensor(bound).to(x).expand_as(x)
    except RuntimeError as error:
        raise MethodError(
            f"A bound of shape {tuple(torch.as_tensor(bound).shape)} does not broadcast to inputs "
            f"of shape {tuple(x.shape)}; give a number, or one for each channel as (C, 1, 1)."
        ) from error


def _require_within(x: Tensor, low: Tensor, high: Tensor) -> None:
    slack = 1e-6 * torch.maximum(low.abs(), high.abs())
    if bool((x < low - slack).any()) or bool((x > high + slack).any()):
        raise MethodError(
            f"Inputs from {float(x.min()):.4g} to {float(x.max()):.4g} lie outside the bounds of "
            f"Deep Taylor, {float(low.min()):.4g} to {float(high.max()):.4g}; give the low= and "
            "high= of the normalised inputs."
        )


def _composite(first: dict[str, _Range]) -> Any:
    rules = library("zennit.rules", "baselines")
    box = [
        ((name,), rules.ZBox(low, high, zero_params=["bias"]))
        for name, (low, high) in first.items()
    ]
    plus = rules.ZPlus(zero_params=["bias"])
    return layered(plus, plus, STABILIZER, box)


def _first(recording: Recording, model: nn.Module, low: Tensor, high: Tensor) -> dict[str, _Range]:
    """The layers that see the input, reshaped or pooled at most, and its bounds as they see it."""
    modules, linear = dict(model.named_modules()), library("zennit.types", "baselines").Linear
    ranges: dict[int, _Range] = {id(recording.inputs[0]): (low, high)}
    first: dict[str, _Range] = {}
    for step in recording.steps:
        call = step.node.call
        seen = [ranges[id(t)] for t in call.inputs if id(t) in ranges]
        if not seen:
            continue
        if _copies(step) and len(seen) == len(call.inputs):
            lows, highs = zip(*seen, strict=True)
            ranges[id(step.output)] = call.run(lows).detach(), call.run(highs).detach()
        elif isinstance(modules.get(call.name), linear):
            first[call.name] = seen[0]
        else:
            raise MethodError(
                f"Deep Taylor's first operation must be a linear layer or a convolution, not "
                f"{call.op} in {call.name or 'the model'}; use LRP(model, 'zplus')."
            )
    return first


def _copies(step: Step) -> bool:
    return step.form.kind == "routing" and not matters_to_relevance(step)
