"""Packages that only some networks need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from biasmatters.models.errors import MissingPackageError

EXTRA = "pip install 'biasmatters[imagenet]'"


@contextmanager
def needed(package: str, name: str, install: str = EXTRA) -> Iterator[None]:
    """Imports of a package, with the command that installs it where it is missing.

    Args:
        package: Name of its module.
        name: The network that needs it.
        install: The command.

    Raises:
        MissingPackageError: If the package itself is missing; what else fails passes through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise missing(package, name, install) from error


def missing(package: str, name: str, install: str = EXTRA) -> MissingPackageError:
    """The error for a package that is not installed; the arguments are those of `needed`."""
    return MissingPackageError(f"{name} needs the package {package}: {install}.")
