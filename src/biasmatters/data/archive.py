"""Chosen members of a tar archive, read in memory: nothing is unpacked to disk."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path

from biasmatters.types import BiasmattersError


class ArchiveError(BiasmattersError):
    """An archive cannot be read, or lacks what it should hold."""


def read_members(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The bytes of the wanted regular files of a ``.tar.gz``, in one pass.

    Raises:
        ArchiveError: If the archive breaks off or a member is missing.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name in wanted and (file := archive.extractfile(member)) is not None:
                    found[member.name] = file.read()
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArchiveError(
            f"The archive {path} cannot be read ({error}); fetch it again."
        ) from error
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise ArchiveError(f"The archive {path} lacks {', '.join(missing)}; fetch it again.")
    return found
