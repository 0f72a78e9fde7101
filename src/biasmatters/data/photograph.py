"""A picture file as 8-bit RGB, and cut to what a network takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from biasmatters.data.colours import to_rgb
from biasmatters.data.errors import InvalidDataOptionError, UnreadableImageError

INTERPOLATIONS: Final[dict[str, Image.Resampling]] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Pixels that are decoded at most: 192 MiB as RGB. Below it Pillow never speaks of a bomb.
MOST_PIXELS: Final = 2**26

# By their first bytes, not by name (ILSVRC has a PNG called .JPEG). Pillow's classes are called
# themselves, since ``Image.open`` judges the size before a JPEG can be reduced.
_FORMATS: Final[tuple[tuple[tuple[bytes, ...], Callable[[BinaryIO], ImageFile.ImageFile]], ...]] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    (tuple(b"P%d" % kind for kind in range(1, 7)), PpmImagePlugin.PpmImageFile),
)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION: Final = 0x0112


def read_photograph(path: str | Path, *, smallest: int = 0) -> Image.Image:
    """Decode the first picture of a file, turned upright as its EXIF says.

    JPEG, PNG, GIF, TIFF, BMP, WebP and PPM, of any mode (see ``to_rgb``).

    Args:
        path: The file.
        smallest: Pixels that the shorter side must have: a JPEG of more than twice as many is
            decoded at a half, a quarter or an eighth, never below. 0 decodes all.

    Returns:
        RGB, 8 bits; it holds no file open.

    Raises:
        UnreadableImageError: If the file cannot be read, is no picture, is damaged or cut short,
            has more than 2**26 pixels (once reduced), or values that are no colours.
    """
    where = Path(path)
    try:
        with where.open("rb") as file:
            return _upright(_opened(where, file), where, smallest)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(where, "there is no such file", "Check its path.") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(where, "it is a folder", "Name a file.") from error
    except PermissionError as error:
        raise UnreadableImageError(
            where, "it may not be read", "Give yourself the right to read it (chmod u+r)."
        ) from error
    except Exception as error:  # decoders raise anything on damaged files
        why = str(error) or type(error).__name__
        raise UnreadableImageError(
            where, f"it is damaged ({why})", "Delete it or replace it."
        ) from error


def _opened(path: Path, file: BinaryIO) -> ImageFile.ImageFile:
    """Read the header only."""
    start = file.read(16)
    file.seek(0)
    if not start:
        raise UnreadableImageError(path, "it is empty", "Delete it or replace it.")
    for signatures, opener in _FORMATS:
        if start.startswith(signatures):
            return opener(file)
    raise UnreadableImageError(
        path,
        "it is no JPEG, PNG, GIF, TIFF, BMP, WebP or PPM file",
        "Delete it or save it as one of them.",
    )


def _upright(picture: ImageFile.ImageFile, path: Path, smallest: int) -> Image.Image:
    """Decode, then convert, then turn."""
    whole = picture.width * picture.height
    if smallest > 0:
        picture.draft(None, (smallest, smallest))
    # A progressive JPEG is held whole while it is decoded, however much it is reduced.
    pixels = whole if picture.info.get("progressive") else picture.width * picture.height
    if pixels > MOST_PIXELS:
        raise UnreadableImageError(
            path,
            f"it has {pixels:,} pixels to decode, more than {MOST_PIXELS:,}",
            "Scale it down before use, or save it as a baseline JPEG, which can be read reduced.",
        )
    picture.load()
    try:
        coloured = to_rgb(picture)
    except ValueError as error:
        raise UnreadableImageError(path, str(error), "Save it as 8-bit RGB.") from error
    turn = _UPRIGHT.get(_orientation(picture))
    return coloured if turn is None else coloured.transpose(turn)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """1 to 8; 1, upright, where the EXIF is missing or damaged (Pillow turned a TIFF already)."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF does no harm to the picture
        return 1


def check_preparation(resize: int, crop: tuple[int, int], interpolation: str) -> None:
    """Refuse numbers by which no picture can be prepared.

    Raises:
        InvalidDataOptionError: It says which.
    """
    if interpolation not in INTERPOLATIONS:
        raise InvalidDataOptionError(
            f"interpolation={interpolation!r}: choose {' or '.join(INTERPOLATIONS)}."
        )
    if len(crop) != 2 or min(crop) < 1 or resize < max(crop):
        raise InvalidDataOptionError(
            f"resize={resize} and a crop of {crop}: give height and width of the crop, both at "
            "least 1 and at most resize, the shorter side that pictures are scaled to."
        )


def prepare_photograph(
    picture: Image.Image, resize: int, crop: tuple[int, int], interpolation: str
) -> NDArray[np.uint8]:
    """Scale the shorter side to ``resize``, then cut out the centre.

    The pixels are those of torchvision's ``Resize`` and ``CenterCrop`` on a PIL picture. Where the
    scaled picture would have more than 2**26 pixels (one of 1 x 20 000, say), only the part that
    is kept is computed, and may differ by two grey levels.

    Args:
        picture: RGB; another mode is converted.
        resize: Pixels of the shorter side.
        crop: Height and width that are kept, at most ``resize``.
        interpolation: ``bilinear`` or ``bicubic``, with antialiasing.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        InvalidDataOptionError: If the numbers make no sense.
    """
    check_preparation(resize, crop, interpolation)
    picture = picture if picture.mode == "RGB" else to_rgb(picture)
    resampling = INTERPOLATIONS[interpolation]
    width, height = _scaled(picture.size, resize)
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    box = (left, top, left + crop[1], top + crop[0])
    if width * height <= MOST_PIXELS:
        small = picture.resize((width, height), resampling).crop(box)
    else:
        small = _part(picture, (width, height), box, resampling)
    return np.array(small)


def _scaled(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height with this shorter side, the longer one rounded down as torchvision does."""
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def _part(
    picture: Image.Image,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    resampling: Image.Resampling,
) -> Image.Image:
    """What ``picture.resize(size).crop(box)`` gives, without making the rest.

    Rows first and columns second, as Pillow goes about it when it enlarges.
    """
    left, right, columns = _span(picture.width, size[0], (box[0], box[2]))
    top, bottom, rows = _span(picture.height, size[1], (box[1], box[3]))
    needed = picture.crop((left, top, right, bottom))
    wide = (box[2] - box[0], needed.height)
    needed = needed.resize(wide, resampling, (columns[0], 0, columns[1], needed.height))
    return needed.resize((wide[0], box[3] - box[1]), resampling, (0, rows[0], wide[0], rows[1]))


def _span(length: int, scaled: int, kept: tuple[int, int]) -> tuple[int, int, tuple[float, float]]:
    """The pixels on which a part of a scaled side depends, and where the part begins and ends."""
    step = length / scaled
    reach = math.ceil(3 * max(step, 1))  # bicubic looks 2 pixels of the coarser grid away
    low, high = kept[0] * step, kept[1] * step
    first, last = max(0, math.floor(low) - reach), min(length, math.ceil(high) + reach)
    return first, last, (low - first, min(high - first, last - first))
