"""The whole output attributed: ``w * x`` plus bias back-propagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from biasmatters.affine.axis import row_sums
from biasmatters.affine.certify import certify, linear_part, relative
from biasmatters.affine.recording import record
from biasmatters.affine.walk import Fallback, walk
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
        bbp = self._bbp
        recording = record(self.model, (x,), target, bbp.options)
        result = walk(recording, bbp.rule.split, fold=bbp.fold, fallback=bbp.fallback)
        linear = linear_part(recording)
        bias = recording.output - linear
        certificate = certify(
            recording, recording.ledger(), bias, result.fallback_mass, measure_margin=False
        )
        whole = recording.weights[0] * x + result.maps[0]
        total = row_sums(whole) + result.dropped
        return Attribution(
            map=whole,
            target=recording.target,
            residual=(total - recording.output).abs(),
            tolerance=certificate.tolerance + relative(bias.dtype) * linear.abs(),
            certificate=certificate,
        )
