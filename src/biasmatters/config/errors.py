"""What can be wrong with a configuration."""

from biasmatters.types import BiasmattersError


class ConfigError(BiasmattersError):
    """A configuration cannot be used; the text names the key and what to write instead."""
