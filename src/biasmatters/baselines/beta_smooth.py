"""The gradient of a network whose ReLUs are smoothed, by Zennit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from biasmatters.affine.recording import Recording
from biasmatters.baselines.coverage import bends
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.baselines.relevance import hand_down, propagate
from biasmatters.types import Attribution, Signal, Target


class BetaSmooth:
    """The gradient with the derivative of each ReLU replaced by ``sigmoid(beta z)``.

    The forward pass keeps its ReLUs: only the derivative is that of a softplus. Promises no total.

    Source: Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
    NeurIPS 2019 (arXiv 1906.07983); implementation: Zennit.

    Args:
        model: A module in evaluation mode; every ReLU is a module of its own.
        beta: Sharpness, above 0; the larger, the closer to the gradient.
    """

    def __init__(self, model: nn.Module, beta: float = 10.0):
        if not beta > 0:
            raise MethodError(f"beta is {beta}; give a number above 0.")
        self.model = model
        self.beta = beta

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            made = propagate(
                question,
                self._composite,
                "Beta-smoothing",
                canonizers=(),
                matters=bends,
                weighted=False,
            )
            return question.answer(made.map)

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        method, rules = "Beta-smoothing", self._composite
        return hand_down(
            self.model, x, rules, method, start, signal, layers, canonizers=(), matters=bends
        )

    def _composite(self, _: Recording) -> Any:
        return library("zennit.composites", "baselines").BetaSmooth(beta_smooth=self.beta)
