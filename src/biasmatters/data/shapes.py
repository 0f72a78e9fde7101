"""Synthetic pictures of shapes, with the truth about where the shape is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biasmatters.data.base import ImageSet, RawData, RawSplit
from biasmatters.data.checksum import combine
from biasmatters.data.errors import InvalidDataOptionError
from biasmatters.data.shape_drawing import SHAPES, draw_picture

_SMALLEST = 16


@dataclass(frozen=True, kw_only=True)
class Shapes(ImageSet):
    """One coloured shape on a textured, noisy ground; its kind is the class.

    Made, not found: ``root`` and ``cache`` are not used. A picture depends on the seed and its
    image id only, so a smaller set is the beginning of a larger one.

    Attributes:
        n_train: How many training images, held-out ones included.
        n_test: How many test images.
        image_size: Height and width in pixels, or one number for both; at least 16.
        channels: 3, or 1 for grey.
        noise: Standard deviation of the noise per pixel, in units of the [0, 1] pixel.
        seed: Of the pictures.
    """

    name = "shapes"

    validation: int = 200
    n_train: int = 2000
    n_test: int = 500
    image_size: int | Sequence[int] = 32
    channels: int = 3
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        ImageSet.__post_init__(self)
        if isinstance(self.image_size, Sequence):
            object.__setattr__(self, "image_size", tuple(self.image_size))
        if len(self._size()) != 2 or min(self._size()) < _SMALLEST:
            raise InvalidDataOptionError(
                f"image_size={self.image_size}: give one number, or height and width, "
                f"of at least {_SMALLEST} pixels."
            )
        if self.channels not in (1, 3):
            raise InvalidDataOptionError(f"channels={self.channels}: give 3, or 1 for grey.")
        if min(self.n_train, self.n_test) < 1 or self.seed < 0 or self.noise < 0:
            raise InvalidDataOptionError(
                f"n_train={self.n_train}, n_test={self.n_test}, seed={self.seed}, "
                f"noise={self.noise}: give at least one image each, and no negative numbers."
            )

    def _size(self) -> tuple[int, ...]:
        side = self.image_size
        return (side, side) if isinstance(side, int) else tuple(side)

    def _read(self) -> RawData:
        train, test = self._draw(0, self.n_train), self._draw(1, self.n_test)
        return RawData(
            classes=tuple(SHAPES),
            train=train,
            test=test,
            source=f"drawn with seed {self.seed}",
            fingerprint=combine(_digest(tensor) for s in (train, test) for tensor in _parts(s)),
        )

    def _draw(self, split: int, count: int) -> RawSplit:
        height, width = self._size()
        images = np.empty((count, self.channels, height, width), dtype=np.uint8)
        masks = np.empty((count, height, width), dtype=np.bool_)
        labels = np.empty(count, dtype=np.int64)
        for i in range(count):
            rng = np.random.default_rng([self.seed, split, i])
            labels[i] = rng.integers(len(SHAPES))
            kind = tuple(SHAPES)[labels[i]]
            images[i], masks[i] = draw_picture(rng, kind, images.shape[1:], self.noise)
        return RawSplit(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(masks))


def _parts(split: RawSplit) -> list[NDArray[np.generic]]:
    parts = (split.images, split.labels, split.masks)
    return [tensor.numpy() for tensor in parts if isinstance(tensor, Tensor)]


def _digest(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
