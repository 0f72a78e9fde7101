"""Grad-CAM, by Captum."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.layers import pick_layer
from biasmatters.baselines.question import Question, asking, require_pictures
from biasmatters.types import Attribution, Target


class GradCam:
    """A layer's channels weighted by their mean gradient, enlarged to the picture.

        relu(sum_c (mean over places of d f / d A_c) A_c)

    Source: Selvaraju et al., ICCV 2017 (arXiv 1610.02391); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        layer: Qualified name of the layer; None for the last that gives maps.
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        self.model = model
        self.layer = layer

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``, the same in every channel; they sum to Grad-CAM.

        Raises:
            MethodError: For a model without such a layer, or none of that name.
        """
        require_pictures(x, "Grad-CAM needs")
        with asking(self.model, x, target) as question:
            if not len(x):
                return question.answer(question.x)
            found = grad_cam(question, self.layer)
            return question.answer(found.expand_as(x) / x.shape[1])


def grad_cam(question: Question, layer: str | None) -> Tensor:
    """``(N, 1, H, W)`` of the size of the question's pictures.

    Raises:
        MethodError: As `GradCam`.
    """
    from captum.attr import LayerGradCam

    x = question.x
    module = pick_layer(question, layer)
    coarse: Tensor = LayerGradCam(question.value, module).attribute(
        x.clone().requires_grad_(), relu_attributions=True
    )
    return F.interpolate(coarse.detach(), size=x.shape[2:], mode="bilinear", align_corners=False)
