"""Integrated gradients, by Captum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.guard import check_inputs, evaluation
from biasmatters.affine.target import explained, resolve_target
from biasmatters.types import Attribution, Target

_Explained = Callable[[Tensor, Tensor | None], Tensor]

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

        self._captum = Captum
        self.model = model
        self.steps = steps
        self.internal_batch_size = internal_batch_size

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        check_inputs((x,))
        with torch.inference_mode(False), torch.enable_grad(), evaluation(self.model, False):
            x = (x.clone() if x.is_inference() else x).detach()
            explain, chosen = self._explained(x, target)
            with torch.no_grad():
                rise = explain(x.clone(), chosen) - explain(x * 0, chosen)
            found = self._captum(explain).attribute(
                x,
                additional_forward_args=(chosen,),
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

    def _explained(self, x: Tensor, target: Target) -> tuple[_Explained, Tensor | None]:
        """What is explained as a function of x and the classes, and the classes at x."""
        if callable(target):
            return (lambda z, _: target(self.model(z))), None
        with torch.no_grad():
            chosen = resolve_target(self.model(x.clone()), target, x.shape[0])
        return (lambda z, classes: explained(self.model(z), classes)), chosen
