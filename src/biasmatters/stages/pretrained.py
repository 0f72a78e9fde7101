"""Stage pretrained: a network that others have trained, in the place of one that we train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasmatters.stages.network import new_network, save_network
from biasmatters.stages.source import Source
from biasmatters.stages.zoo import zoo_name


@dataclass(frozen=True)
class Pretrained:
    """Leaves the published weights of one network as ``weights.safetensors``.

    Attributes:
        source: The data, and the network.
        normalization: Scaling of the inputs: the network's own.
    """

    source: Source
    normalization: str

    stage = "pretrained"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Model and data."""
        return f"{self.source.spec.name}-{self.source.spec.model.name}"

    def settings(self) -> dict[str, Any]:
        """Which network, and whose weights."""
        from biasmatters.models import zoo

        model = self.source.spec.model
        origin = zoo.describe(zoo_name(model) or "").origin
        return {"model": dict(model.settings), "origin": origin}

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Get the weights, check them, and write them down."""
        data = self.source.load(self.normalization)
        save_network(new_network(self.source.spec.model, data, bias=True, seed=0), folder)
