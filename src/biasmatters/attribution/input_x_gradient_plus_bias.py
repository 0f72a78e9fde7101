"""The whole output attributed: ``w * x`` plus bias back-propagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from biasmatters.affine.walker import Fallback
from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.rules import Rule
from biasmatters.types import Attribution, Target


class InputXGradientPlusBias:
    """``w * x + BBp``, which sums to the output f(x) itself.

    Args:
        model, rule, temperature, fold, fallback: As in `BiasBackprop`.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        rule: str | Rule = "softmax_neg_abs",
        temperature: float = 1.0,
        fold: bool = True,
        fallback: Fallback = "uniform",
    ) -> None:
        self.model = model
        self._bbp = BiasBackprop(model, rule, temperature, fold, fallback)
        self.rule = self._bbp.rule

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """``w * x + beta`` like x ``(N, *features)``, from one recording."""
        found = self._bbp.certified((x,), target)
        return found.whole(found.point.weights[0] * x.detach())
