"""Why a method refuses."""

from __future__ import annotations

from biasmatters.types import BiasmattersError


class MethodError(BiasmattersError):
    """A method does not fit a model, its inputs or its own settings."""


class MissingLibraryError(BiasmattersError):
    """A method needs a library that is not installed."""
