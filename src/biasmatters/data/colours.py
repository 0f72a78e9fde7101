"""A picture of any mode as 8-bit RGB."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

_BITS: Final = TiffImagePlugin.BITSPERSAMPLE
_FORMAT: Final = TiffImagePlugin.SAMPLEFORMAT
_PHOTOMETRIC: Final = TiffImagePlugin.PHOTOMETRIC_INTERPRETATION
_SIGNED: Final = 2


def to_rgb(picture: Image.Image) -> Image.Image:
    """An RGB copy of a decoded picture.

    What is transparent is laid over white. Integers of more than 8 bits are scaled by the file's
    depth (16 where it does not say), floats from [0, 1]; 16-bit colour comes from Pillow by its
    high byte. CMYK is converted without a colour profile, and read as Adobe's in a JPEG, inverted.

    Args:
        picture: As Pillow opened it, and loaded.

    Raises:
        ValueError: If its values cannot be turned into colours.
    """
    if picture.mode.startswith(("I", "F")):
        grey = _unit(picture)
        return Image.fromarray(np.rint(grey * 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return picture.convert("RGB")


def _unit(picture: Image.Image) -> NDArray[np.float64]:
    """Deep grey values in [0, 1], ``(H, W)``; where the file says a value is transparent, 1."""
    values = np.asarray(picture)
    scaled = _checked(values) if picture.mode == "F" else _integers(picture, values)
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == 0:
        scaled = 1 - scaled
    key = picture.info.get("transparency")
    if isinstance(key, int):
        scaled[values == key] = 1
    return scaled


def _checked(values: NDArray[np.generic]) -> NDArray[np.float64]:
    scaled = values.astype(np.float64)
    if not (scaled.min() >= 0 and scaled.max() <= 1):
        raise ValueError(
            f"its values are floats from {scaled.min():.4g} to {scaled.max():.4g}, not in [0, 1]"
        )
    return scaled


def _integers(picture: Image.Image, values: NDArray[np.generic]) -> NDArray[np.float64]:
    bits, signed = 16, False
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits = int(picture.tag_v2[_BITS][0])
        signed = picture.tag_v2.get(_FORMAT, (1,))[0] == _SIGNED
    if signed and values.min() < 0:
        raise ValueError(f"its values go down to {values.min()}, below black")
    if bits == 32 and not signed:
        values = values.view(np.uint32)
    top = float(2 ** (bits - signed) - 1)
    return values.astype(np.float64) / top
