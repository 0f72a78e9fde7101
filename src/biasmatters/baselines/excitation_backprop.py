"""Excitation back-propagation, by Zennit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from biasmatters.affine.recording import Recording
from biasmatters.baselines.conservation import conserved
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.baselines.relevance import hand_down, propagate
from biasmatters.types import Attribution, Signal, Target

_NAME = "Excitation back-propagation"


class ExcitationBackprop:
    """Marginal winning probabilities: 1 at the explained output, handed down by positive weights.

    Input i of unit j wins with probability ``x_i w_ji+ / sum_i x_i w_ji+``, without biases, so the
    map sums to 1 (to the sum of its gradient at the output, for a callable target). Negative
    inputs, which the paper excludes, win by negative weights.

    Source: Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016
    (arXiv 1608.00507); implementation: Zennit.

    Args:
        model: A module in evaluation mode; its activations are ReLUs.
        canonizers: As in `LRP`.
    """

    def __init__(self, model: nn.Module, *, canonizers: Sequence[Any] | None = None):
        self.model = model
        self.canonizers = canonizers

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            made = propagate(
                question, _composite, _NAME, canonizers=self.canonizers, weighted=False
            )
            return conserved(question, made, _NAME)

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        kept = self.canonizers
        return hand_down(self.model, x, _composite, _NAME, start, signal, layers, canonizers=kept)


def _composite(_: Recording) -> Any:
    return library("zennit.composites", "baselines").ExcitationBackprop(zero_params=["bias"])
