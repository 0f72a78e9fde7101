"""Where the configuration files lie."""

from __future__ import annotations

from pathlib import Path

from biasmatters.config.errors import ConfigError


def conf_dir() -> Path:
    """The folder conf/: inside an installed package, or at the top of a checkout.

    Raises:
        ConfigError: It is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    places = [package / "conf", package.parents[1] / "conf"]
    for place in places:
        if (place / "config.yaml").is_file():
            return place
    raise ConfigError(
        f"the configuration files were not found in {places[0]} nor in {places[1]}: "
        "install the package again."
    )
