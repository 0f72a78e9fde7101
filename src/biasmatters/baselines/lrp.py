"""Layer-wise relevance propagation, by Zennit, on models that Zennit walks rightly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from torch import Tensor, nn

from biasmatters.affine.certify import linear_part
from biasmatters.affine.recording import Recording
from biasmatters.baselines.composite import STABILIZER, layered, never_zero
from biasmatters.baselines.conservation import conserved
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.baselines.relevance import hand_down, propagate
from biasmatters.types import Attribution, Signal, Target

Variant = Literal["zero", "epsilon", "gamma", "zplus", "alpha_beta", "cmp"]
Biases = Literal["keep", "drop"]

VARIANTS: tuple[str, ...] = get_args(Variant)


class LRP:
    """Relevance of the output, handed down layer by layer in proportion to contributions.

    Relevance starts as the explained output f. With the contribution ``c_ij = x_i w_ji`` of input i
    to unit j, ``z_j = sum_i c_ij + b_j`` and ``+`` and ``-`` for positive and negative parts, the
    relevance of i is the sum over j of R_j times

    - ``zero`` (LRP-0): ``c_ij / z_j``, 0 where z_j is 0.
    - ``epsilon``: ``c_ij / (z_j + epsilon sign z_j)``.
    - ``gamma``: ``c_ij + gamma c_ij+`` over its own sum, where ``z_j > 0``; with ``-`` where
      ``z_j < 0``.
    - ``zplus``: ``c_ij+ / sum_i c_ij+``.
    - ``alpha_beta``: ``alpha c_ij+ / sum_i c_ij+ - beta c_ij- / sum_i c_ij-``,
      ``beta = alpha - 1``; 1, 2 and 5 are usual.
    - ``cmp``: ``epsilon`` of 1e-10 in dense layers, ``alpha_beta`` in convolutions.

    Residual sums and average pooling split in proportion, activations pass relevance on.

    Biases. ``zero`` and ``epsilon`` keep them in the denominator: what a bias contributes is taken
    away, and on networks whose activations go through zero the map sums to ``w.x = f - b``. That
    is measured by this library's own engine, which needs no hooks. The other rules drop them
    (``z_j`` without ``b_j``), so the map sums to f; ``biases`` changes either. With biases kept
    they promise no sum. Relevance of units without any contribution of the asked sign is lost, and
    ``alpha_beta`` needs both signs at each unit; a `ConservationWarning` then names the loss.

    Source: Bach et al., PLOS ONE 2015 (epsilon, alpha-beta); Montavon et al., Pattern Recognition
    2017, arXiv 1512.02479 (z+); Montavon et al. 2019, "Layer-wise relevance propagation: an
    overview" (0, gamma); Kohlbrenner et al., IJCNN 2020, arXiv 1910.09840 (cmp, with the epsilon
    of Sixt et al., ICML 2020, arXiv 1912.09818); implementation: Zennit,
    Anders et al. 2021, arXiv 2106.13200.

    Args:
        model: A module in evaluation mode.
        variant: Which of the above.
        epsilon: Of ``epsilon``, above 0.
        gamma: Of ``gamma``, at least 0.
        alpha: Of ``alpha_beta`` and ``cmp``, at least 1.
        biases: ``keep`` or ``drop``; None for the variant's own.
        canonizers: Zennit's canonizers, instead of our own: the blocks of torchvision's ResNets,
            and every batch-norm that the recording finds directly behind a linear operation.
    """

    def __init__(
        self,
        model: nn.Module,
        variant: Variant = "epsilon",
        *,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        alpha: float = 2.0,
        biases: Biases | None = None,
        canonizers: Sequence[Any] | None = None,
    ):
        if variant not in VARIANTS:
            raise MethodError(f"LRP has no variant {variant!r}; take one of {', '.join(VARIANTS)}.")
        if biases not in (None, "keep", "drop"):
            raise MethodError(f"biases={biases!r}: give 'keep', 'drop' or None.")
        if not (0 < epsilon < math.inf and 0 <= gamma < math.inf and 1 <= alpha < math.inf):
            raise MethodError(
                "LRP needs epsilon > 0 (or variant='zero'), gamma >= 0 and alpha >= 1."
            )
        self.model = model
        self.variant = variant
        self.epsilon = epsilon
        self.gamma = gamma
        self.alpha = alpha
        self.biases = biases or ("keep" if variant in ("zero", "epsilon") else "drop")
        self.canonizers = canonizers

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            made = propagate(question, self._composite, "LRP", canonizers=self.canonizers)
            if self.biases == "drop":
                return conserved(question, made, "LRP")
            if self.variant not in ("zero", "epsilon") or not made.through_zero:
                return question.answer(made.map)
            made = replace(made, total=linear_part(made.recording))
            return conserved(question, made, "LRP", exact=self.variant == "zero")

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        rules, kept = self._composite, self.canonizers
        return hand_down(self.model, x, rules, "LRP", start, signal, layers, canonizers=kept)

    def _composite(self, _: Recording) -> Any:
        rules = library("zennit.rules", "baselines")
        dense, convolution = self._hooks(rules, ["bias"] if self.biases == "drop" else None)
        stabilizer = never_zero if self.variant == "zero" else STABILIZER
        return layered(dense, convolution, stabilizer)

    def _hooks(self, rules: Any, zeroed: list[str] | None) -> tuple[Any, Any]:
        """Zennit's rules for dense layers and for convolutions."""
        made = {
            "zero": lambda: rules.Epsilon(epsilon=never_zero, zero_params=zeroed),
            "epsilon": lambda: rules.Epsilon(epsilon=self.epsilon, zero_params=zeroed),
            "gamma": lambda: rules.Gamma(gamma=self.gamma, zero_params=zeroed),
            "zplus": lambda: rules.ZPlus(zero_params=zeroed),
            "alpha_beta": lambda: rules.AlphaBeta(self.alpha, self.alpha - 1, zero_params=zeroed),
        }
        if self.variant == "cmp":
            return rules.Epsilon(epsilon=1e-10, zero_params=zeroed), made["alpha_beta"]()
        return (hook := made[self.variant]()), hook
