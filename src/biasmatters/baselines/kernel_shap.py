"""KernelSHAP over superpixels, by Captum."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from biasmatters.baselines.covering import Covering
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.types import Attribution, Target


class KernelShap:
    """Shapley values of superpixels by a weighted linear regression over covered pictures.

    Source: Lundberg, Lee, NeurIPS 2017 (arXiv 1705.07874); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        samples: Covered pictures for each image.
        segments: About how many superpixels.
        baseline: Value of covered pixels.
        chunk: Pictures evaluated at a time.
        seed: Of what is covered.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int = 200,
        segments: int = 30,
        baseline: float = 0.0,
        chunk: int = 64,
        seed: int = 0,
    ) -> None:
        library("sklearn", "baselines")
        self.model = model
        self.covering = Covering(samples, segments, baseline, chunk, seed)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``: a superpixel's value, spread evenly over it.

        Raises:
            MethodError: For anything but pictures.
        """
        from captum.attr import KernelShap as Captum

        with asking(self.model, x, target) as question:
            return question.one_by_one(partial(self.covering.weigh, Captum))
