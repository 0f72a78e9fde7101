"""Small data made in the tests, and the way to real data where there is some."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from biasmatters.data.idx_set import FILES, IdxSet
from biasmatters.data.places import cache_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from the user's data and cache."""
    monkeypatch.delenv("BIASMATTERS_DATA", raising=False)
    monkeypatch.setenv("BIASMATTERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data, or skip."""
    named = os.environ.get("BIASMATTERS_DATA")
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(named) if named else beside
    if not folder.is_dir():
        pytest.skip(f"no real data: BIASMATTERS_DATA is not set and {beside} is not there")
    return folder


@pytest.fixture(scope="session")
def users_cache() -> str:
    """Where the user's own runs keep downloads."""
    return str(cache_folder(None))


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def _contents(seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    arrays = []
    for count in (40, 12):
        arrays.append(rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
        arrays.append(rng.integers(0, 3, count, dtype=np.uint8))
    return dict(zip(FILES, map(idx_bytes, arrays), strict=True))


TINY = _contents(0)
OTHER = _contents(1)


def _digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


@dataclass(frozen=True, kw_only=True)
class TinyIdx(IdxSet):
    """Forty training and twelve test images of 5 x 4 pixels."""

    name = "tiny"
    classes = ("a", "b", "c")
    statistics = ((0.5,), (0.25,))
    digests = _digests(TINY)
    siblings = frozenset(_digests(OTHER).values())
    folders = ("tiny",)
    mirrors = ()
    package = None

    validation: int = 10


def write_idx(
    folder: Path, contents: Mapping[str, bytes] = TINY, *, compressed: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / name).write_bytes(data)
    return folder


def write_pictures(
    root: Path, layout: Mapping[str, int], size: tuple[int, int] = (8, 6), suffix: str = ".png"
) -> Path:
    """``layout`` maps a class folder such as ``train/cat`` to how many pictures it gets."""
    rng = np.random.default_rng(0)
    for folder, count in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{i:03}{suffix}")
    return root


def write_archive(path: Path, members: Mapping[str, bytes]) -> str:
    """A ``.tar.gz``; returns its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Make:
    """The makers of small data, for tests."""

    TINY = TINY
    OTHER = OTHER
    TinyIdx = TinyIdx
    idx_bytes = staticmethod(idx_bytes)
    idx = staticmethod(write_idx)
    pictures = staticmethod(write_pictures)
    archive = staticmethod(write_archive)


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
