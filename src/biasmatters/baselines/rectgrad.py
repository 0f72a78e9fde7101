"""RectGrad: the gradient through important units only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.recording import Recording, Step
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import (
    Pull,
    modified_backward,
    modified_descent,
    recorded,
    without_total,
)
from biasmatters.baselines.rectifier import rectifies, require_rectifiers
from biasmatters.types import INPUT, Attribution, Signal, Target


class RectGrad:
    """At a ReLU with output a the signal R passes only where ``a R > tau``.

    tau is the percentile of ``a R`` over all units of the layer, for each sample; this mask takes
    the place of the ReLU's own. At the input the signal is kept where ``x R > tau`` likewise, and
    the map is ``x R`` there.

    Recalled, not read: that the percentile is an entry itself, the lower one (so that
    the largest passes in a small layer, too), that
    the input is thresholded too, and 98 as the default. The paper has ReLUs only; at ReLU6, a
    clamp at 0 and the leaky kinds the formula stands as it is. The paper's proportional
    redistribution rule is not offered.

    Source: Kim, Seo, Jeon, Koo, Choe, Jeon, "Why are saliency maps noisy? Cause of and solution to
    noisy saliency maps", 2019 (arXiv 1902.04893).

    Args:
        model: A module in evaluation mode, with at least one ReLU.
        percentile: In [0, 100).
        times_input: Whether the map is ``x R``, else R.
        threshold_input: Whether the input is thresholded as well.
    """

    def __init__(
        self,
        model: nn.Module,
        percentile: float = 98.0,
        times_input: bool = True,
        threshold_input: bool = True,
    ) -> None:
        if not 0 <= percentile < 100:
            raise MethodError(f"Give a percentile from 0 to below 100, not {percentile}.")
        self.model = model
        self.percentile = percentile
        self.times_input = times_input
        self.threshold_input = threshold_input

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``; it promises no total.

        Raises:
            MethodError: For a model without any ReLU.
        """
        recording = self._recorded(x, target)
        return without_total(
            recording, self._map(recording, modified_backward(recording, self._rule))
        )

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it, with the percentile of each sample anew."""
        recording = self._recorded(x, row_sums)
        found = modified_descent(recording, self._rule, start, signal, layers)
        return {n: self._map(recording, s) if n == INPUT else s for n, s in found.items()}

    def _recorded(self, x: Tensor, target: Target) -> Recording:
        recording = recorded(self.model, x, target)
        require_rectifiers(recording, "RectGrad")
        return recording

    def _map(self, recording: Recording, signal: Tensor) -> Tensor:
        leaf = recording.inputs[0].detach()
        found = leaf * signal if self.times_input else signal
        if self.threshold_input:
            found = found * above_percentile(leaf * signal, self.percentile)
        return found

    def _rule(self, step: Step) -> Pull | None:
        call = step.node.call
        if not rectifies(call):
            return None

        def pull(tau: Tensor) -> tuple[Tensor, ...]:
            product = call.output.detach() * tau
            mask = above_percentile(product, self.percentile, step.node.axis, call.samples)
            return (tau * mask,)

        return pull


def above_percentile(
    values: Tensor, percentile: float, axis: int = 0, samples: int | None = None
) -> Tensor:
    """Like values, where they are larger than their sample's percentile.

    Args:
        values: Any shape.
        percentile: In [0, 100).
        axis: Where the samples lie.
        samples: Their number, if not the length of that axis.
    """
    if not values.numel():
        return values.bool()
    moved = values.movedim(axis, 0)
    rows = moved.reshape(len(moved) if samples is None else samples, -1)
    place = 1 + math.floor(percentile / 100 * (rows.shape[1] - 1))
    least = rows.kthvalue(place, 1, keepdim=True).values
    return (rows > least).reshape(moved.shape).movedim(0, axis)
