"""What can go wrong before a picture is explained."""

from __future__ import annotations

from biasmatters.types import BiasmattersError


class PictureRequestError(BiasmattersError, ValueError):
    """What was asked for cannot be done as it was said."""
