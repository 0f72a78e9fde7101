"""Pictures of one split in their files, decoded when they are asked for, and kept decoded."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biasmatters.data import array_cache
from biasmatters.data.checksum import combine
from biasmatters.data.errors import InvalidDataOptionError, UnreadableImageError
from biasmatters.data.folder import Picture
from biasmatters.data.folder_hashes import content_hashes
from biasmatters.data.held import Held
from biasmatters.data.preparation import Preparation, SizeError
from biasmatters.data.progress import progress_bar

_VERSION = "pictures-2"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureFiles:
    """A split's pictures; an image id is a position in ``pictures``.

    Attributes:
        root: The folder.
        pictures: The whole split, in the order of its listing.
        prepare: Makes a file's pixels.
        cache: Where decoded arrays and checksums are kept.
    """

    root: Path
    pictures: tuple[Picture, ...]
    prepare: Preparation
    cache: Path

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """How many pictures, channels, height and width."""
        return len(self.pictures), *self.prepare.shape

    def hold(self, ids: Tensor) -> Held:
        """Read, hash and decode these pictures and no other, or take them from the cache.

        Pictures that cannot be read are left out, each with a warning that says why.

        Args:
            ids: ``(N,)`` int64.

        Raises:
            UnreadableImageError: If none of them can be read, or if one is of another size than
                the rest and nobody said to which size they are to be scaled.
            InvalidDataOptionError: If they would not fit into memory.
        """
        ids = torch.unique(ids)
        if not len(ids):
            return Held(torch.empty((0, *self.prepare.shape), dtype=torch.uint8), ids, ids)
        self._check_memory(len(ids))
        paths = [self.pictures[i].path for i in ids.tolist()]
        hashes = content_hashes(self.root, paths, self.cache)
        arrays = array_cache.load_or_make(
            self.cache / "imagefolder" / "arrays",
            combine([_VERSION, repr(self.prepare), *hashes]),
            lambda: _decode([self.root / path for path in paths], self.prepare),
        )
        lost = dict(json.loads(arrays["lost"].tobytes()))
        for row, why in lost.items():
            _log.warning("%s is left out: %s", self.root / paths[row], why)
        gone = torch.zeros(len(ids), dtype=torch.bool)
        gone[torch.tensor(list(lost), dtype=torch.int64)] = True
        return Held(torch.from_numpy(arrays["images"]), ids[~gone], ids[gone])

    def _check_memory(self, count: int) -> None:
        needed = count * prod(self.prepare.shape)
        there = _memory()
        if there is not None and needed > there:
            raise InvalidDataOptionError(
                f"{count} pictures from {self.root} take {needed / 2**30:.0f} GiB, and this "
                f"machine has {there / 2**30:.0f} GiB of memory; take fewer of them "
                "(train_limit, test_limit)."
            )


def _memory() -> int | None:
    """Bytes of memory of this machine, where it says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _decode(paths: Sequence[Path], prepare: Preparation) -> dict[str, NDArray[np.generic]]:
    """``images (K, C, H, W)`` of the readable files, and ``lost``: row and reason of the others.

    Decoding releases the interpreter, so threads help.
    """
    images = np.empty((len(paths), *prepare.shape), dtype=np.uint8)
    lost: list[tuple[int, str]] = []

    def fill(row: int) -> str:
        try:
            images[row] = prepare(paths[row])
        except SizeError:
            raise
        except UnreadableImageError as error:
            return error.reason
        return ""

    with ThreadPoolExecutor() as pool, progress_bar(in_bytes=False) as bar:
        task = bar.add_task("decoding pictures", total=len(paths))
        for row, why in enumerate(pool.map(fill, range(len(paths)))):
            if why:
                lost.append((row, why))
            bar.advance(task)
    if lost and len(lost) == len(paths):
        others = f", nor can any of the other {len(paths) - 1}" if len(paths) > 1 else ""
        raise UnreadableImageError(
            paths[0], f"{lost[0][1]}{others}", "Put intact pictures in their place."
        )
    kept = np.delete(images, [row for row, _ in lost], axis=0) if lost else images
    return {"images": kept, "lost": np.frombuffer(json.dumps(lost).encode(), dtype=np.uint8)}
