"""Integrated gradients, by Captum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.baselines.question import asking
from biasmatters.baselines.settings import whole
from biasmatters.types import Attribution, Target

COMPLETENESS = 0.05


class IntegratedGradients:
    """Gradients averaged along the straight path from a baseline of zeros, times the input.

    Sums to f(x) - f(0) up to the error of the quadrature; the tolerance is 5 % of
    ``1 + |f(x) - f(0)|``.

    Source: Sundararajan, Taly, Yan, ICML 2017 (arXiv 1703.01365); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        steps: Points of the Gauss-Legendre quadrature.
        internal_batch_size: Points evaluated at a time, or None for all.
    """

    def __init__(self, model: nn.Module, steps: int = 50, internal_batch_size: int | None = 512):
        self.model = model
        self.steps = whole("steps", steps)
        self.internal_batch_size = internal_batch_size

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        from captum.attr import IntegratedGradients as Captum

        with asking(self.model, x, target) as question:
            if not len(x):
                return question.answer(question.x)
            with torch.no_grad():
                rise = question.value(question.x.clone()) - question.value(question.x * 0)
            found: Tensor = Captum(question.value).attribute(
                question.x,
                additional_forward_args=(question.target,),
                n_steps=self.steps,
                internal_batch_size=self.internal_batch_size,
            )
            return question.answer(found, rise, COMPLETENESS * (1 + rise.abs()))
