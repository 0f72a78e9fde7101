"""sha256 of every picture of a folder; a file is read again only when it has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from biasmatters.data.checksum import combine, sha256_of
from biasmatters.data.download import replacing
from biasmatters.data.folder import FolderLayout, Picture
from biasmatters.data.progress import progress_bar

_log = logging.getLogger(__name__)


def fingerprint(layout: FolderLayout, cache: Path) -> str:
    """sha256 over the paths and contents of all pictures.

    Sums are remembered in the cache by path, size and time of change.
    """
    book = _book(layout.root, cache)
    known = _load(book)
    todo = [p for p in layout.pictures if known.get(p.path, [])[:2] != [p.size, p.modified]]
    if todo:
        known |= _hash(layout.root, todo)
        try:
            with replacing(book) as file:
                file.write(json.dumps(known).encode())
        except OSError as error:
            _log.warning("checksums of pictures could not be kept in %s: %s", book, error)
    return combine(f"{p.path} {known[p.path][2]}" for p in layout.pictures)


def _book(root: Path, cache: Path) -> Path:
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
    return cache / "imagefolder" / "checksums" / f"{place[:24]}.json"


def _load(book: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(book.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _hash(root: Path, pictures: Sequence[Picture]) -> dict[str, list[int | str]]:
    sums: dict[str, list[int | str]] = {}
    with ThreadPoolExecutor() as pool, progress_bar(in_bytes=False) as bar:
        task = bar.add_task("reading pictures", total=len(pictures))
        digests = pool.map(lambda p: sha256_of(root / p.path), pictures)
        for picture, digest in zip(pictures, digests, strict=True):
            sums[picture.path] = [picture.size, picture.modified, digest]
            bar.advance(task)
    return sums
