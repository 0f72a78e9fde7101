"""Decode the pictures of a folder, once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from biasmatters.data import array_cache
from biasmatters.data.base import RawData, RawSplit
from biasmatters.data.checksum import combine
from biasmatters.data.errors import UnreadableImageError
from biasmatters.data.folder import FolderLayout, Picture
from biasmatters.data.folder_hashes import fingerprint
from biasmatters.data.progress import progress_bar

_VERSION = "pictures-1"
_LOSSY = frozenset({".jpg", ".jpeg", ".webp"})


def read_folder(
    layout: FolderLayout, cache: Path, size: tuple[int, int] | None, channels: int
) -> RawData:
    """The pictures of a folder as arrays, decoded now or taken from the cache.

    Args:
        layout: The pictures.
        cache: Where decoded arrays are kept, keyed by the pictures' content and the size.
        size: Height and width; larger or smaller pictures are scaled to cover it and cropped
            at the centre. None: all pictures must be of one size.
        channels: 3, or 1 for grey.

    Raises:
        UnreadableImageError: If a picture is damaged, or differs in size and none was asked for.
    """
    content = fingerprint(layout, cache)
    shape = size or _size_of(layout.root / layout.pictures[0].path)
    key = combine([_VERSION, content, str(shape), str(size is not None), str(channels)])
    decoder = _Decoder(layout.root, shape, channels, scale=size is not None)
    arrays = array_cache.load_or_make(
        cache / "imagefolder" / "arrays",
        key,
        lambda: {"images": decoder.all(layout.pictures)},
    )
    images = torch.from_numpy(arrays["images"])
    held = len(layout.train)
    tested = held + len(layout.validation)
    train = _labelled(images[:held], layout.train)
    validation = _labelled(images[held:tested], layout.validation)
    test = _labelled(images[tested:], layout.test)
    return RawData(
        classes=layout.classes,
        train=train,
        test=test,
        validation=validation if layout.validation else None,
        source=str(layout.root),
        fingerprint=content,
        note=_note(layout.pictures),
    )


def _labelled(images: torch.Tensor, pictures: Sequence[Picture]) -> RawSplit:
    return RawSplit(images, torch.tensor([p.label for p in pictures], dtype=torch.int64))


def _note(pictures: Sequence[Picture]) -> str:
    lossy = sum(Path(p.path).suffix.lower() in _LOSSY for p in pictures)
    return "JPEG copies" if lossy == len(pictures) else "some JPEG copies" if lossy else ""


@dataclass(frozen=True)
class _Decoder:
    """Turns picture files into arrays of one size."""

    root: Path
    size: tuple[int, int]
    channels: int
    scale: bool

    def all(self, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
        """``(N, channels, H, W)``; decoding releases the interpreter, so threads help."""
        result = np.empty((len(pictures), self.channels, *self.size), dtype=np.uint8)
        paths = [self.root / picture.path for picture in pictures]
        with ThreadPoolExecutor() as pool, progress_bar(in_bytes=False) as bar:
            task = bar.add_task("decoding pictures", total=len(pictures))
            for _ in pool.map(self._fill, result, paths):
                bar.advance(task)
        return result

    def _fill(self, row: NDArray[np.uint8], path: Path) -> None:
        row[...] = self.one(path)

    def one(self, path: Path) -> NDArray[np.uint8]:
        """One picture as ``(channels, H, W)``."""
        height, width = self.size
        with _open(path) as picture:
            fits = (picture.height, picture.width) == self.size
            if not fits and not self.scale:
                raise UnreadableImageError(
                    path,
                    f"it is {picture.height} x {picture.width} while another is {height} x {width}",
                    "Give an image_size, so that all are scaled to it.",
                )
            if not fits:
                picture.draft("RGB", (2 * width, 2 * height))
            pixels = _convert(path, picture, "RGB" if self.channels == 3 else "L")
        if not fits:
            pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BICUBIC)
        array = np.asarray(pixels, dtype=np.uint8).reshape(height, width, self.channels)
        return array.transpose(2, 0, 1)


def _convert(path: Path, picture: Image.Image, mode: str) -> Image.Image:
    """Decode all of a picture."""
    try:
        if picture.mode == "P" and "transparency" in picture.info:
            return picture.convert("RGBA").convert(mode)
        return picture.convert(mode)
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _size_of(path: Path) -> tuple[int, int]:
    with _open(path) as picture:
        return picture.height, picture.width


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, SyntaxError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> UnreadableImageError:
    return UnreadableImageError(path, f"it is damaged ({why})", "Delete it or replace it.")
