"""Which models are pretrained, and what their weights' metadata ask of the data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from biasmatters.stages.spec import Part

# The normalisation that stands for a pretrained network's own mean and standard deviation.
OWN = "standard"


def zoo_name(model: Part) -> str | None:
    """The name in the zoo of a model that its file in conf/model/ says is pretrained, or None."""
    name = model.settings.get("pretrained")
    return None if name is None else str(name)


def preprocessing_of(model: Part) -> dict[str, Any] | None:
    """What a pretrained network's pictures go through, from its weights' metadata; else None.

    Raises:
        BiasmattersError: There is no such network, or a package is missing.
    """
    from biasmatters.models import zoo

    name = zoo_name(model)
    return None if name is None else asdict(zoo.describe(name).preprocessing)
