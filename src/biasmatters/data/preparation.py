"""How a picture file becomes the pixels of an image: as it is, covering, or centre-cropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from biasmatters.data.errors import UnreadableImageError
from biasmatters.data.photograph import prepare_photograph, read_photograph


class SizeError(UnreadableImageError):
    """A picture is whole, but not of the size of the others."""


class Preparation(Protocol):
    """Gives every picture the same shape; its repr is part of the key of what it made."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """The picture as ``(C, H, W)``; UnreadableImageError if it cannot be used."""


@dataclass(frozen=True)
class _Sized:
    """What preparations to a fixed size have in common.

    Attributes:
        size: Height and width.
        channels: 3, or 1 for grey.
    """

    size: tuple[int, int]
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, *self.size


@dataclass(frozen=True)
class AsItIs(_Sized):
    """Every picture has the size already."""

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Decode; SizeError if it is of another size."""
        picture = read_photograph(path)
        height, width = self.size
        if (picture.height, picture.width) != self.size:
            raise SizeError(
                path,
                f"it is {picture.height} x {picture.width} while another is {height} x {width}",
                "Give an image_size, so that all are scaled to it.",
            )
        return _channels_first(picture, self.channels)


@dataclass(frozen=True)
class Cover(_Sized):
    """Scale (bicubic) until the size is covered, and cut off what juts out on both sides."""

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Decode and scale."""
        height, width = self.size
        picture = read_photograph(path, smallest=2 * max(self.size))
        if (picture.height, picture.width) != self.size:
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        return _channels_first(picture, self.channels)


@dataclass(frozen=True)
class CentreCrop:
    """As networks for ImageNet are tested: see ``prepare_photograph``.

    Attributes:
        resize: Pixels of the shorter side.
        crop: Height and width that are kept of that.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    resize: int
    crop: tuple[int, int]
    interpolation: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3, *self.crop

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Decode, scale and crop."""
        picture = read_photograph(path, smallest=2 * self.resize)
        pixels = prepare_photograph(picture, self.resize, self.crop, self.interpolation)
        return pixels.transpose(2, 0, 1)


def _channels_first(picture: Image.Image, channels: int) -> NDArray[np.uint8]:
    shown = picture if channels == 3 else picture.convert("L")
    array = np.asarray(shown, dtype=np.uint8).reshape(picture.height, picture.width, channels)
    return array.transpose(2, 0, 1)
