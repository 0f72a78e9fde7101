"""The pictures of a folder's layout as raw data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from biasmatters.data.base import Chosen, RawData, RawSplit
from biasmatters.data.checksum import combine
from biasmatters.data.errors import UnreadableImageError
from biasmatters.data.folder import FolderLayout, Picture
from biasmatters.data.folder_hashes import content_hashes, file_sizes
from biasmatters.data.photograph import read_photograph
from biasmatters.data.picture_files import PictureFiles
from biasmatters.data.preparation import AsItIs, Preparation

_LOSSY = frozenset({".jpg", ".jpeg", ".webp"})


def read_folder(
    layout: FolderLayout, cache: Path, prepare: Preparation, *, deferred: bool = False
) -> RawData:
    """The pictures of a folder, decoded when they are used or taken from the cache.

    Args:
        layout: The pictures.
        cache: Where decoded arrays are kept, keyed by the pictures' content and ``prepare``.
        prepare: Makes a file's pixels.
        deferred: Leave training pictures alone until they are used; the fingerprint then knows
            them by path and size in bytes.
    """

    def split(pictures: tuple[Picture, ...]) -> RawSplit:
        labels = torch.tensor([p.label for p in pictures], dtype=torch.int64)
        return RawSplit(PictureFiles(layout.root, pictures, prepare, cache), labels)

    return RawData(
        classes=layout.classes,
        train=split(layout.train),
        test=split(layout.test),
        validation=split(layout.validation) if layout.validation else None,
        source=str(layout.root),
        fingerprint=partial(_fingerprint, layout, cache, deferred),
        note=_note(layout.pictures),
        deferred=deferred,
    )


def same_size(layout: FolderLayout, channels: int) -> AsItIs:
    """For a folder of pictures of one size: that of the first that can be read.

    Raises:
        UnreadableImageError: If none can.
    """
    first: UnreadableImageError | None = None
    for picture in layout.pictures:
        try:
            seen = read_photograph(layout.root / picture.path)
        except UnreadableImageError as error:
            first = first or error
            continue
        return AsItIs((seen.height, seen.width), channels)
    raise first or UnreadableImageError(layout.root, "it is empty", "Put pictures there.")


def _fingerprint(layout: FolderLayout, cache: Path, deferred: bool, chosen: Chosen) -> str:
    """sha256 over the classes and over split, image id, path and content of the pictures chosen."""
    content = partial(content_hashes, layout.root, cache=cache)
    training = partial(file_sizes, layout.root) if deferred else content
    held = layout.validation or layout.train
    lines = [*layout.classes]
    lines += _lines("train", layout.train, chosen.train, training)
    lines += _lines("validation", held, chosen.validation, training)
    lines += _lines("test", layout.test, chosen.test, content)
    return combine(lines)


def _lines(
    split: str,
    pictures: Sequence[Picture],
    ids: Tensor,
    describe: Callable[[Sequence[str]], Sequence[str]],
) -> list[str]:
    paths = [pictures[i].path for i in ids.tolist()]
    told = zip(ids.tolist(), paths, describe(paths), strict=True)
    return [f"{split} {i} {path} {what}" for i, path, what in told]


def _note(pictures: Sequence[Picture]) -> str:
    lossy = sum(Path(p.path).suffix.lower() in _LOSSY for p in pictures)
    return "JPEG copies" if lossy == len(pictures) else "some JPEG copies" if lossy else ""
