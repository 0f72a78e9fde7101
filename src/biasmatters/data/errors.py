"""What can go wrong with data, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biasmatters.types import BiasmattersError


class InvalidDataOptionError(BiasmattersError, ValueError):
    """An option of a data set has a value that makes no sense."""


class DataNotFoundError(BiasmattersError):
    """A data set cannot be had from any of its sources.

    Attributes:
        data: Name of the data set.
        tried: One line for every place looked at: where, and why it failed.
    """

    def __init__(self, data: str, tried: Sequence[str], advice: str) -> None:
        self.data = data
        self.tried = tuple(tried)
        places = "\n".join(f"  - {line}" for line in self.tried) or "  - nowhere"
        super().__init__(
            f"The data set '{data}' was not found. Looked at:\n{places}\nTo get it: {advice}"
        )


class ChecksumError(BiasmattersError):
    """A file is not, byte for byte, what it should be; it is never used.

    Attributes:
        path: The file.
        expected: The sha256 (of the decompressed bytes for ``.gz`` files of the MNIST family).
        found: The sha256 it has, or why none could be computed.
    """

    def __init__(self, path: Path, expected: str, found: str) -> None:
        self.path = path
        self.expected = expected
        self.found = found
        super().__init__(
            f"The file {path} is damaged or is another file and was not used: "
            f"expected sha256 {expected}, found {found}. Delete it or put an intact copy there."
        )


class UnreadableImageError(BiasmattersError):
    """A picture cannot be used as it is.

    Attributes:
        path: The file.
        reason: Why, in words that follow on the picture's name.
    """

    def __init__(self, path: Path, reason: str, advice: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"The picture {path} cannot be used: {reason}. {advice}")
