"""LIME over superpixels, by Captum."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from biasmatters.baselines.covering import Covering
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import asking
from biasmatters.baselines.settings import between
from biasmatters.types import Attribution, Target


class Lime:
    """A sparse linear model of the output by which superpixels are shown.

    Pictures weigh by ``exp(-d^2 / 2 width^2)``, d the cosine distance to the whole picture.

    Source: Ribeiro, Singh, Guestrin, KDD 2016 (arXiv 1602.04938); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        samples: Covered pictures for each image.
        segments: About how many superpixels.
        penalty: Of the lasso.
        width: Of the weights.
        baseline: Value of covered pixels.
        chunk: Pictures evaluated at a time.
        seed: Of what is covered.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int = 200,
        segments: int = 30,
        penalty: float = 0.01,
        width: float = 0.25,
        baseline: float = 0.0,
        chunk: int = 64,
        seed: int = 0,
    ) -> None:
        library("sklearn", "baselines")
        self.model = model
        self.penalty = between("penalty", penalty, 0, 1e6)
        self.width = between("width", width, 1e-6, 1e6)
        self.covering = Covering(samples, segments, baseline, chunk, seed)

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``: a superpixel's weight, spread evenly over it.

        Raises:
            MethodError: For anything but pictures.
        """
        with asking(self.model, x, target) as question:
            return question.one_by_one(partial(self.covering.weigh, self._method))

    def _method(self, function: Any) -> Any:
        from captum._utils.models.linear_model import SkLearnLasso
        from captum.attr import Lime as Captum
        from captum.attr._core.lime import get_exp_kernel_similarity_function

        return Captum(
            function,
            interpretable_model=SkLearnLasso(alpha=self.penalty),
            similarity_func=get_exp_kernel_similarity_function("cosine", self.width),
        )
