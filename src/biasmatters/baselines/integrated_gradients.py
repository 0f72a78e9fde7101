"""Integrated gradients, by Captum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.guard import check_inputs, evaluation
from biasmatters.affine.target import explained, resolve_target
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
        from captum.attr import IntegratedGradients as Captum

        self.model = model
        self.steps = steps
        self.internal_batch_size = internal_batch_size
        self._method = Captum(model)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        check_inputs((x,))
        with torch.enable_grad(), evaluation(self.model, False):
            with torch.no_grad():
                output = self.model(x.clone())
                chosen = resolve_target(output, target, x.shape[0])
                rise = explained(output, chosen) - explained(self.model(x * 0), chosen)
            found = self._method.attribute(
                x.detach(),
                target=chosen,
                n_steps=self.steps,
                internal_batch_size=self.internal_batch_size,
            )
        total = row_sums(found.detach())
        return Attribution(
            map=found.detach(),
            target=chosen,
            residual=(total - rise).abs(),
            tolerance=COMPLETENESS * (1 + rise.abs()),
        )
