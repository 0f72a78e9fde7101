"""What can go wrong when a network is made."""

from __future__ import annotations

from biasmatters.types import BiasmattersError


class ModelOptionError(BiasmattersError, ValueError):
    """A network cannot be made with these options."""
