"""What can go wrong when a network is made."""

from __future__ import annotations

from biasmatters.types import BiasmattersError


class ModelOptionError(BiasmattersError, ValueError):
    """A network cannot be made with these options."""


class UnknownNetworkError(ModelOptionError):
    """The zoo has no network of this name."""


class MissingPackageError(BiasmattersError):
    """A network, or its weights, come with a package that is not installed."""


class WeightsUnavailableError(BiasmattersError):
    """A network's weights are neither on this machine nor could they be fetched."""


class DamagedWeightsError(BiasmattersError):
    """A file of weights is not the one that was published: its sha256 is another."""
