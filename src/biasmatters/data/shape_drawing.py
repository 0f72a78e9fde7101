"""Draw one shape on a textured ground, with scikit-image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask
from skimage.transform import resize

Floats = NDArray[np.float64]

_GRID = 5
_CONTRAST = 0.35


def _regular(corners: int) -> Floats:
    turn = 2 * np.pi * np.arange(corners) / corners
    return np.stack([-np.cos(turn), np.sin(turn)], axis=1)


def _star() -> Floats:
    outline = _regular(10)
    outline[1::2] *= 0.42
    return outline


def _cross() -> Floats:
    a, b = 1.0, 0.3
    corners = [(-a, -b), (-a, b), (-b, b), (-b, a), (b, a), (b, b)]
    half = np.array(corners)
    return np.concatenate([half, -half]) * 0.9


SHAPES: Final[Mapping[str, Callable[[], Floats]]] = {
    "circle": lambda: _regular(48),
    "square": lambda: _regular(4),
    "triangle": lambda: _regular(3),
    "star": _star,
    "cross": _cross,
}
"""Corners ``(K, 2)`` as (row, column) within the unit circle, by the name of the shape."""


def draw_picture(
    rng: np.random.Generator, kind: str, shape: Sequence[int], noise: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One shape of random place, size, turn and colour.

    Args:
        rng: Source of all choices.
        kind: A key of ``SHAPES``.
        shape: Channels, height, width.
        noise: Standard deviation per pixel, in units of the [0, 1] pixel.

    Returns:
        The picture ``(C, H, W)`` uint8, and where the shape is, ``(H, W)`` bool.
    """
    channels, height, width = shape
    mask = _place(rng, SHAPES[kind](), height, width)
    ground = _texture(rng, channels, height, width)
    colour = _colour(rng, ground.mean(axis=(1, 2)))
    picture = np.where(mask, colour[:, None, None] + 0.3 * (ground - 0.5), ground)
    picture += noise * rng.standard_normal(picture.shape)
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8), mask


def _place(rng: np.random.Generator, corners: Floats, height: int, width: int) -> NDArray[np.bool_]:
    """Scale, turn and move a shape so that all of it is in the picture."""
    radius = rng.uniform(0.22, 0.38) * min(height, width)
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = [rng.uniform(radius, side - 1 - radius) for side in (height, width)]
    outline = corners @ rotation.T * radius + np.array(centre)
    mask: NDArray[np.bool_] = polygon2mask((height, width), outline)  # type: ignore[no-untyped-call]
    return mask


def _texture(rng: np.random.Generator, channels: int, height: int, width: int) -> Floats:
    """Smooth random colours ``(C, H, W)`` between 0.1 and 0.9."""
    coarse = rng.uniform(0.1, 0.9, size=(_GRID, _GRID, channels))
    shape = (height, width, channels)
    smooth: Floats = resize(coarse, shape, order=1)  # type: ignore[no-untyped-call]
    return smooth.transpose(2, 0, 1)


def _colour(rng: np.random.Generator, ground: Floats) -> Floats:
    """A colour that differs from the ground's mean colour in every channel."""
    lighter = rng.random(ground.shape) < 0.5
    shift = rng.uniform(_CONTRAST, 0.5, size=ground.shape)
    return np.where(lighter, ground + shift, ground - shift)
