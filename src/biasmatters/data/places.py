"""Where data may lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT_VARIABLE = "BIASMATTERS_DATA"
CACHE_VARIABLE = "BIASMATTERS_CACHE"


def cache_folder(cache: str | None) -> Path:
    """The folder for downloads and decoded images: given, else from the environment."""
    chosen = cache or os.environ.get(CACHE_VARIABLE) or "~/.cache/biasmatters"
    return Path(chosen).expanduser()


def root_folders(root: str | None) -> list[tuple[str, Path]]:
    """The folders a user named, each with how it was named."""
    named = [("root", root), (f"${ROOT_VARIABLE}", os.environ.get(ROOT_VARIABLE))]
    return [(how, Path(folder).expanduser()) for how, folder in named if folder]


def inside(root: Path, names: Sequence[str], below: Sequence[str] = ()) -> Iterator[Path]:
    """Existing folders where the data of a root may lie: the root itself or one by its name.

    Args:
        root: The data set's own folder, or a parent of it.
        names: What the data set's folder may be called.
        below: Sub-folders of it that may hold the files.
    """
    for top in (root, *(root / name for name in names)):
        for folder in (top, *(top / sub for sub in below)):
            if folder.is_dir():
                yield folder
