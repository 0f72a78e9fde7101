"""Guided Grad-CAM."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from biasmatters.baselines.grad_cam import grad_cam
from biasmatters.baselines.guided_backprop import GuidedBackprop
from biasmatters.baselines.question import asking, require_pictures
from biasmatters.types import Attribution, Target


class GuidedGradCam:
    """Guided back-propagation times Grad-CAM.

    Grad-CAM is Captum's; the guided part is walked over our own recording, since Captum's passes
    the plain gradient through activations that are called as functions.

    Source: Selvaraju et al., ICCV 2017 (arXiv 1610.02391).

    Args:
        model: A module in evaluation mode.
        layer: Of Grad-CAM, as in `GradCam`.
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        self.model = model
        self.layer = layer
        self._guided = GuidedBackprop(model)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``.

        Raises:
            MethodError: As `GradCam` and `GuidedBackprop` do.
        """
        require_pictures(x, "Guided Grad-CAM needs")
        with asking(self.model, x, target) as question:
            if not len(x):
                return question.answer(question.x)
            cam = grad_cam(question, self.layer)
            chosen = question.choose or question.target
            guided = self._guided.explain(question.x, chosen).map
            return question.answer(cast(Tensor, guided) * cam)
