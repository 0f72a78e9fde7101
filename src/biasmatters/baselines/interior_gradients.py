"""Interior gradients: gradients of counterfactual, dimmed inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.baselines.question import asking
from biasmatters.baselines.settings import whole
from biasmatters.types import Attribution, Target


class InteriorGradients:
    """The mean gradient at dimmed copies of the input, from nearly black to the input itself.

        1 / K sum_k grad f((k / K) x),  k = 1 ... K

    Times the input this is the sum that integrated gradients approximate; here the input's own
    size stays out of it.

    Source: Sundararajan, Taly, Yan, 2016 (arXiv 1611.02639).

    Args:
        model: A module in evaluation mode.
        steps: K.
    """

    def __init__(self, model: nn.Module, steps: int = 20) -> None:
        self.model = model
        self.steps = whole("steps", steps)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            total = torch.zeros_like(question.x)
            for k in range(1, self.steps + 1):
                dimmed = (question.x * (k / self.steps)).requires_grad_()
                total += torch.autograd.grad(question.value(dimmed).sum(), dimmed)[0]
            return question.answer(total / self.steps)
