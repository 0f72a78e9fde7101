"""sha256 of the pictures of a folder; a file is read again only when it has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from biasmatters.data.checksum import sha256_of
from biasmatters.data.download import replacing
from biasmatters.data.progress import progress_bar

UNREADABLE = "unreadable"

_log = logging.getLogger(__name__)

Entry = list[int | str]


def content_hashes(root: Path, paths: Sequence[str], cache: Path) -> list[str]:
    """sha256 of the contents of files, ``unreadable`` where there is none to be had.

    Sums are remembered in the cache by path, size and time of change.

    Args:
        root: The folder.
        paths: Relative to it.
        cache: Where sums are remembered.
    """
    book = _book(root, cache)
    known = _load(book)
    states = [_state(root / path) for path in paths]
    todo = [
        (path, state)
        for path, state in zip(paths, states, strict=True)
        if state and known.get(path, [])[:2] != state
    ]
    new = _hash(root, todo)
    readable = {path: entry for path, entry in new.items() if entry[2] != UNREADABLE}
    if readable:
        try:
            with replacing(book) as file:
                file.write(json.dumps(known | readable).encode())
        except OSError as error:
            _log.warning("checksums of pictures could not be kept in %s: %s", book, error)
    known |= new
    return [
        str(known[path][2]) if state else UNREADABLE
        for path, state in zip(paths, states, strict=True)
    ]


def file_sizes(root: Path, paths: Sequence[str]) -> list[str]:
    """Sizes of files in bytes, ``unreadable`` where nobody can tell: paths as above."""
    states = (_state(root / path) for path in paths)
    return [str(state[0]) if state else UNREADABLE for state in states]


def _state(path: Path) -> Entry:
    """Size in bytes and time of the last change in nanoseconds; empty if nobody can tell."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _book(root: Path, cache: Path) -> Path:
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
    return cache / "imagefolder" / "checksums" / f"{place[:24]}.json"


def _load(book: Path) -> dict[str, Entry]:
    try:
        known = json.loads(book.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _hash(root: Path, todo: Sequence[tuple[str, Entry]]) -> dict[str, Entry]:
    sums: dict[str, Entry] = {}
    with ThreadPoolExecutor() as pool, progress_bar(in_bytes=False) as bar:
        task = bar.add_task("reading pictures", total=len(todo))
        digests = pool.map(lambda one: _sum(root / one[0]), todo)
        for (path, state), digest in zip(todo, digests, strict=True):
            sums[path] = [*state, digest]
            bar.advance(task)
    return sums


def _sum(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return UNREADABLE
