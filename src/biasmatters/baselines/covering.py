"""Covered superpixels, as LIME and KernelSHAP have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasmatters.baselines.noise import image_seed, seeded
from biasmatters.baselines.question import Question
from biasmatters.baselines.settings import finite, whole
from biasmatters.baselines.superpixels import superpixels


@dataclass(frozen=True)
class Covering:
    """Pictures in which some superpixels are covered.

    Attributes:
        samples: Covered pictures for each image.
        segments: About how many superpixels.
        baseline: Value of covered pixels.
        chunk: Pictures evaluated at a time.
        seed: Of what is covered; an image's choice depends on it and the image alone.
    """

    samples: int
    segments: int
    baseline: float
    chunk: int
    seed: int

    def __post_init__(self) -> None:
        whole("samples", self.samples, 2)
        whole("segments", self.segments, 2)
        whole("chunk", self.chunk)
        finite("baseline", self.baseline)

    def weigh(self, make: Callable[[Any], Any], question: Question) -> Tensor:
        """``(1, C, H, W)`` a superpixel's weight, spread evenly over its pixels and channels.

        Args:
            make: Captum's method for a function of pictures.
            question: About one picture.
        """
        image = question.x
        segments = superpixels(image[0], self.segments)
        mask = segments.expand(image.shape)
        with seeded(image_seed(self.seed, image[0]), image), torch.no_grad():
            found: Tensor = make(question.value).attribute(
                image,
                baselines=self.baseline,
                feature_mask=mask,
                n_samples=self.samples,
                perturbations_per_eval=self.chunk,
            )
        sizes = torch.bincount(segments.flatten()) * image.shape[1]
        return found / sizes[mask].to(found.dtype)
