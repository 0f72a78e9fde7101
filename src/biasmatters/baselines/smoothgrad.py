"""SmoothGrad and VarGrad, by Captum's NoiseTunnel."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from biasmatters.baselines.noise import image_seed, seeded
from biasmatters.baselines.question import Question, asking
from biasmatters.baselines.settings import between, whole
from biasmatters.types import Attribution, Target


class SmoothGrad:
    """The mean of the gradient over noisy copies of the input, with its sign.

        mean_i grad f(x + n_i),  n_i ~ N(0, (noise (max x - min x))^2)

    The noise of an image depends on the seed and the image alone.

    Source: Smilkov, Thorat, Kim, Viegas, Wattenberg, 2017 (arXiv 1706.03825); implementation:
    Captum.

    Args:
        model: A module in evaluation mode.
        samples: Noisy copies of each image.
        noise: Standard deviation as a share of the image's range.
        seed: Of the noise.
    """

    def __init__(
        self, model: nn.Module, samples: int = 50, noise: float = 0.15, seed: int = 0
    ) -> None:
        self.model = model
        self.samples = whole("samples", samples)
        self.noise = between("noise", noise, 0, 10)
        self.seed = seed

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            return question.one_by_one(
                partial(_tunnel, "smoothgrad", self.samples, self.noise, self.seed)
            )


class VarGrad:
    """The variance of the gradient over noisy copies of the input.

        mean_i (g_i - mean_j g_j)^2,  g_i = grad f(x + n_i)

    Source: Adebayo, Gilmer, Goodfellow, Kim, 2018 (arXiv 1810.03307); implementation: Captum.

    Args:
        model, samples, noise, seed: As in `SmoothGrad`.
    """

    def __init__(
        self, model: nn.Module, samples: int = 50, noise: float = 0.15, seed: int = 0
    ) -> None:
        self.model = model
        self.samples = whole("samples", samples, 2)
        self.noise = between("noise", noise, 0, 10)
        self.seed = seed

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            return question.one_by_one(
                partial(_tunnel, "vargrad", self.samples, self.noise, self.seed)
            )


def _tunnel(kind: str, samples: int, noise: float, seed: int, question: Question) -> Tensor:
    """Of one sample."""
    from captum.attr import NoiseTunnel, Saliency

    image = question.x
    deviation = float(image.max() - image.min()) * noise
    with seeded(image_seed(seed, image[0]), image):
        found: Tensor = NoiseTunnel(Saliency(question.value)).attribute(
            image,
            nt_type=kind,
            nt_samples=samples,
            stdevs=deviation or torch.finfo(image.dtype).tiny,
            abs=False,
        )
    return found
