"""Whether a file of weights is the published one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from biasmatters.models.errors import DamagedWeightsError


def checked(path: Path, expected: str, remedy: str) -> str:
    """The sha256 of a file, if it is the right one.

    Args:
        path: The file.
        expected: The sha256, or its beginning, in hexadecimal digits; empty accepts every file.
        remedy: What to do with a damaged one, as an imperative sentence without its full stop.

    Raises:
        DamagedWeightsError: If it is another file.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise DamagedWeightsError(
            f"{path} is damaged: its sha256 is {found} and should begin with {expected}. {remedy}."
        )
    return found
