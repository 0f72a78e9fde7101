"""sha256 of files and of what they decompress to."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from biasmatters.data.errors import ChecksumError


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Raise ChecksumError unless the file has this sha256."""
    found = sha256_of(path)
    if found != expected:
        raise ChecksumError(path, expected, found)


def read_verified(path: Path, expected: str) -> bytes:
    """The bytes of a file, decompressed if it ends in ``.gz``, once their sha256 is checked.

    Raises:
        ChecksumError: If it does not match, or if the file cannot be decompressed.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ChecksumError(path, expected, f"no readable gzip file ({error})") from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ChecksumError(path, expected, found)
    return data


def combine(digests: Iterable[str]) -> str:
    """One sha256 over several, in the order given."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
