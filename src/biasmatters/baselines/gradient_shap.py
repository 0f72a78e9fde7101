"""GradientSHAP, by Captum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from biasmatters.baselines.noise import image_seed, seeded
from biasmatters.baselines.question import Question, asking
from biasmatters.baselines.settings import between, whole
from biasmatters.types import Attribution, Target


class GradientShap:
    """Gradients at random points between noisy inputs and backgrounds, times the difference.

        mean_i (x_i - r_i) grad f(r_i + a_i (x_i - r_i)),  x_i = x + n_i,  a_i uniform in [0, 1]

    Sums to f(x) - mean f(r) in expectation only. The backgrounds r are those given to `fit`, or a
    single one of zeros.

    Source: Lundberg, Lee, NeurIPS 2017 (arXiv 1705.07874); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        samples: Random points for each image.
        noise: Standard deviation as a share of the image's range.
        backgrounds: How many images `fit` keeps.
        seed: Of the random numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int = 50,
        noise: float = 0.05,
        backgrounds: int = 64,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.samples = whole("samples", samples)
        self.noise = between("noise", noise, 0, 10)
        self.backgrounds = whole("backgrounds", backgrounds)
        self.seed = seed
        self._kept: Tensor | None = None

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Keep the first images of some batches ``(N, *features)`` as backgrounds."""
        kept: list[Tensor] = []
        for batch in batches:
            kept.append(batch.detach()[: self.backgrounds - sum(map(len, kept))])
            if sum(map(len, kept)) >= self.backgrounds:
                break
        self._kept = torch.cat(kept) if kept else None
        return self

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            return question.one_by_one(self._one)

    def _one(self, question: Question) -> Tensor:
        from captum.attr import GradientShap as Captum

        image = question.x
        backgrounds = torch.zeros_like(image) if self._kept is None else self._kept.to(image)
        with seeded(image_seed(self.seed, image[0]), image):
            found: Tensor = Captum(question.value).attribute(
                image,
                baselines=backgrounds,
                n_samples=self.samples,
                stdevs=float(image.max() - image.min()) * self.noise,
            )
        return found
