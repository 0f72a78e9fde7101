"""Which pictures are meant, and what their results are called."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from biasmatters.data.folder import EXTENSIONS
from biasmatters.pictures.errors import PictureRequestError

# What the second figure of a picture ends in, before its extension.
LAYERS = ".layers"
# Bytes of a name, so that a temporary neighbour still has a name that fits.
LONGEST = 180


@dataclass(frozen=True)
class Item:
    """A picture's file.

    Attributes:
        path: The file; whether it is a picture shows when it is read.
        name: Of its results, relative to the output folder and without an extension.
    """

    path: Path
    name: str


def gather(pictures: Sequence[str | Path], out: Path) -> tuple[Item, ...]:
    """The files that are meant, each once, in the order given; a folder's by path.

    Results are called as the file is without its extension, below a folder as the path from there.
    Where that is the same for several, the extension is added, then a number; names too long for a
    file are cut.

    Args:
        pictures: Files and folders.
        out: Folder of results; pictures in it are drawings of an earlier run and do not count.

    Raises:
        PictureRequestError: Nothing was named, a folder holds no picture, or it is ``out`` itself.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for given in pictures:
        for path, name in _files(Path(given), out.resolve()):
            found.setdefault(path.resolve(), (path, name))
    if not found:
        raise PictureRequestError("Name pictures or folders of pictures, or use --example.")
    return tuple(_items(list(found.values())))


def _files(given: Path, out: Path) -> Iterator[tuple[Path, str]]:
    if not given.is_dir():
        yield given, given.stem
        return
    if given.resolve() == out:
        raise PictureRequestError(
            f"{given} holds the pictures, and results need a folder of their own: choose another."
        )
    below = sorted(path for path in given.rglob("*") if _is_picture(path, out))
    if not below:
        raise PictureRequestError(
            f"{given} holds no pictures; they end in {', '.join(sorted(EXTENSIONS))}."
        )
    for path in below:
        yield path, path.relative_to(given).with_suffix("").as_posix()


def _is_picture(path: Path, out: Path) -> bool:
    right = path.suffix.lower() in EXTENSIONS and path.is_file()
    return right and out not in path.resolve().parents


def _items(found: Sequence[tuple[Path, str]]) -> Iterator[Item]:
    """Tell results apart that would be called the same, on file systems without case too."""
    alike = Counter(name.lower() for _, name in found)
    taken: set[str] = set()
    for path, plain in found:
        name = _short(plain)
        if alike[plain.lower()] > 1 or plain.lower().endswith(LAYERS):
            name = f"{name}-{path.suffix.lstrip('.').lower() or 'file'}"
        number = 2
        base = name
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        yield Item(path, name)


def _short(name: str) -> str:
    """A name of which every part leaves room for endings within a file system's 255 bytes."""
    parts = name.split("/")
    return "/".join(part if len(os.fsencode(part)) <= LONGEST else _cut(part) for part in parts)


def _cut(part: str) -> str:
    digest = hashlib.sha256(os.fsencode(part)).hexdigest()[:12]
    kept = os.fsencode(part)[: LONGEST - len(digest) - 1].decode(errors="ignore")
    return f"{kept}-{digest}"
