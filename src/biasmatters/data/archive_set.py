"""Data sets that come as one archive: CIFAR-10, CIFAR-100, STL-10."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from biasmatters.data import array_cache
from biasmatters.data.archive import read_members
from biasmatters.data.base import ImageSet, RawData, RawSplit, Statistics
from biasmatters.data.checksum import combine, sha256_of, verify
from biasmatters.data.download import download
from biasmatters.data.errors import ChecksumError, DataNotFoundError
from biasmatters.data.folder import scan_folder
from biasmatters.data.picture_folder import read_folder, same_size
from biasmatters.data.places import cache_folder, inside, root_folders


@dataclass(frozen=True, kw_only=True)
class ArchiveSet(ImageSet):
    """One archive with a known sha256, or an image folder with copies of its pictures."""

    classes: ClassVar[tuple[str, ...]]
    statistics: ClassVar[Statistics | None] = None
    archive: ClassVar[str]
    digest: ClassVar[str]
    side: ClassVar[int]
    folders: ClassVar[tuple[str, ...]]
    mirrors: ClassVar[tuple[str, ...]]
    members: ClassVar[tuple[str, ...]]

    @abstractmethod
    def _decode(self, members: Mapping[str, bytes]) -> Mapping[str, NDArray[np.generic]]:
        """``train_images, test_images`` ``(M, 3, H, W)`` uint8, ``train_labels, test_labels``."""

    def _read(self) -> RawData:
        """Try the sources in order; a damaged file outside our cache ends the search."""
        tried: list[str] = []
        for how, root in root_folders(self.root):
            for folder in inside(root, self.folders):
                if (archive := folder / self.archive).is_file():
                    verify(archive, self.digest)
                    return self._from_archive(archive, str(archive))
                copies = self._from_copies(folder)
                if copies is not None:
                    return copies
            tried.append(f"{root} (from {how}): no {self.archive} and no train/ and test/ folders")
        return self._from_cache(tried) or self._from_web(tried)

    def _from_copies(self, folder: Path) -> RawData | None:
        """An image folder with exactly this data set's classes, or None."""
        layout = scan_folder(folder)
        if layout is None or layout.classes != tuple(sorted(self.classes)):
            return None
        if not layout.train or not layout.test:
            return None
        prepare = same_size(layout, channels=3)
        if prepare.size != (self.side, self.side):
            return None
        raw = read_folder(layout, cache_folder(self.cache), prepare)
        return replace(raw, statistics=self.statistics)

    def _from_cache(self, tried: list[str]) -> RawData | None:
        path = cache_folder(self.cache) / self.name / self.archive
        if not path.is_file():
            tried.append(f"cache: no {path}")
            return None
        found = sha256_of(path)
        if found == self.digest:
            return self._from_archive(path, str(path))
        path.unlink(missing_ok=True)
        tried.append(f"cache: {ChecksumError(path, self.digest, found)} It was removed.")
        return None

    def _from_web(self, tried: list[str]) -> RawData:
        path = cache_folder(self.cache) / self.name / self.archive
        for mirror in self.mirrors:
            try:
                download(mirror + self.archive, path)
                verify(path, self.digest)
                return self._from_archive(path, mirror)
            except ChecksumError as error:
                path.unlink(missing_ok=True)
                tried.append(f"web: {mirror}: {error}")
            except OSError as error:
                tried.append(f"web: {mirror}: {error}")
        raise DataNotFoundError(
            self.name,
            tried,
            f"put {self.archive} (from {self.mirrors[0] if self.mirrors else 'its publisher'}) "
            "into a folder and name it with root=FOLDER or the environment variable "
            "BIASMATTERS_DATA; it need not be unpacked.",
        )

    def _from_archive(self, archive: Path, source: str) -> RawData:
        """Decode a checked archive, or take what was decoded before."""
        arrays = array_cache.load_or_make(
            cache_folder(self.cache) / self.name,
            combine(["archive-1", self.digest]),
            lambda: self._decode(read_members(archive, self.members)),
        )
        train, test = (
            RawSplit(
                torch.from_numpy(arrays[f"{part}_images"]),
                torch.from_numpy(arrays[f"{part}_labels"]).long(),
            )
            for part in ("train", "test")
        )
        return RawData(
            classes=self.classes,
            train=train,
            test=test,
            source=source,
            fingerprint=self.digest,
            statistics=self.statistics,
        )
