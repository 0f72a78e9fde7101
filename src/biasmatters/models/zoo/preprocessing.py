"""What a picture goes through before a pretrained network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeGuard, get_args

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """Resize (with antialiasing), crop the centre, scale to [0, 1], then ``(x - mean) / std``.

    Attributes:
        resize: The shorter side after resizing, px; the other keeps the picture's proportions.
        crop: Height and width of the centre that is kept, px.
        interpolation: Of the resizing.
        mean: One a channel, in units of [0, 1] pixels.
        std: One a channel, in units of [0, 1] pixels.
    """

    resize: int
    crop: tuple[int, int]
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_interpolation(name: str) -> TypeGuard[Interpolation]:
    """Whether a resizing of this name can be written down in a `Preprocessing`."""
    return name in get_args(Interpolation)
