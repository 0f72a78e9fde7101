"""A few photographs that come with scikit-image, as many times as a batch needs."""

from __future__ import annotations

import torch
from skimage import data
from torch import Tensor
from torch.nn.functional import interpolate

NAMES = ("astronaut", "cat", "coffee", "rocket")
MEAN, SPREAD = 0.498, 0.502


def photographs(batch: int, side: int) -> Tensor:
    """Normalised as EfficientNet-Lite wants them, ``(batch, 3, side, side)``.

    The first four are whole pictures; after them come random parts, every other one mirrored.

    Args:
        batch: How many.
        side: Height and width in pixels.
    """
    pictures = [_picture(name) for name in NAMES]
    rows = []
    for index in range(batch):
        picture = pictures[index % len(pictures)]
        if index >= len(pictures):
            picture = _part(picture, mirrored=bool(index % 2))
        size = (side, side)
        rows.append(interpolate(picture[None], size, mode="bilinear", antialias=True)[0])
    return (torch.stack(rows) - MEAN) / SPREAD


def _picture(name: str) -> Tensor:
    return torch.from_numpy(getattr(data, name)()).permute(2, 0, 1).float() / 255


def _part(picture: Tensor, *, mirrored: bool) -> Tensor:
    share = 0.6 + 0.4 * float(torch.rand(()))
    for axis in (1, 2):
        length = int(share * picture.shape[axis])
        start = int(torch.randint(picture.shape[axis] - length + 1, ()))
        picture = picture.narrow(axis, start, length)
    return picture.flip(2) if mirrored else picture
