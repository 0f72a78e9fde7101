"""The random map: what a method has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.baselines.noise import image_generator
from biasmatters.baselines.question import Question, asking
from biasmatters.types import Attribution, Target


class RandomMap:
    """Independent numbers from N(0, 1) that depend on the seed and the image alone.

    Args:
        model: Is asked for the predicted class and nothing else.
        seed: Of the numbers.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        self.model = model
        self.seed = seed

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``."""
        with asking(self.model, x, target) as question:
            return question.one_by_one(self._one)

    def _one(self, question: Question) -> Tensor:
        generator = image_generator(self.seed, question.x[0])
        return torch.randn(question.x.shape, generator=generator).to(question.x)
