"""Other people's libraries, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from biasmatters.baselines.errors import MissingLibraryError


def library(module: str, extra: str) -> ModuleType:
    """Import a module of a library that comes with an extra.

    Args:
        module: Dotted name.
        extra: The extra of this package that installs it.

    Raises:
        MissingLibraryError: With the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingLibraryError(
            f"{module.partition('.')[0]} is not installed; this method comes with "
            f"pip install 'biasmatters[{extra}]'."
        ) from error
