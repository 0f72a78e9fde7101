"""Decoded arrays on disk, keyed by content, so that nothing is decoded twice."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biasmatters.data.checksum import sha256_of

Arrays = Mapping[str, NDArray[np.generic]]

_MANIFEST = "manifest.json"
_log = logging.getLogger(__name__)


def load_or_make(folder: Path, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays under ``key``, made and kept if they are not there or damaged.

    Args:
        folder: Where entries are kept.
        key: sha256 over all that the arrays depend on.
        make: Called when they have to be made.

    Returns:
        Arrays by name; mapped from disk where they were found there.
    """
    entry = folder / key[:24]
    found = load(folder, key)
    if found is not None:
        return found
    arrays = make()
    try:
        _save(entry, key, arrays)
    except OSError as error:
        _log.warning("decoded images could not be kept in %s: %s", folder, error)
    return arrays


def load(folder: Path, key: str) -> Arrays | None:
    """The arrays under ``key``, or None if they are not there or not as they were written."""
    entry = folder / key[:24]
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        files = {name: entry / f"{name}.npy" for name in manifest["arrays"]}
        if manifest["key"] != key or any(
            sha256_of(files[name]) != digest for name, digest in manifest["arrays"].items()
        ):
            return None
        return {name: np.load(path, mmap_mode="c") for name, path in files.items()}
    except (OSError, ValueError, KeyError):
        return None


def _save(entry: Path, key: str, arrays: Arrays) -> None:
    """Write all files aside, then put them in place by one rename."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=entry.parent, prefix=".part-"))
    try:
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array, allow_pickle=False)
        digests = {name: sha256_of(scratch / f"{name}.npy") for name in arrays}
        (scratch / _MANIFEST).write_text(json.dumps({"key": key, "arrays": digests}))
        shutil.rmtree(entry, ignore_errors=True)
        scratch.rename(entry)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
