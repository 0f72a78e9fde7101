"""What is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biasmatters.affine.walker import Fallback
from biasmatters.pictures.errors import PictureRequestError
from biasmatters.rules import make_rule
from biasmatters.types import AttributorFactory, Reduction

FIGURES = ("png", "pdf")
MAPS = ("npz", "safetensors")
FORMATS = (*FIGURES, *MAPS)


@dataclass(frozen=True)
class Extra:
    """A method that is shown beside BBp.

    Attributes:
        name: Of its map in files.
        make: Makes it from the network.
        rule: Name of BBp's rule, if the method uses BBp.
        reduction: How its map over channels becomes one to look at.
        settings: Plain values that its map depends on.
    """

    name: str
    make: AttributorFactory
    rule: str = ""
    reduction: Reduction = "sum"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Pictures, a network, and what to find out.

    Attributes:
        pictures: Files and folders; a folder stands for all pictures in and below it.
        out: Folder for the results.
        network: Name in the zoo.
        rule: Name of BBp's rule.
        temperature: T of the softmax rules.
        fold: Whether slopes scale the contributions, as in `BiasBackprop`.
        fallback: For units without any contributing input, as there.
        target: The class to explain: ``top1`` to ``top9``, a name, or a place among all classes.
        formats: Which files to write for each picture: some of ``FORMATS``.
        layers: Whether to draw where each layer's bias lands (some seconds more each).
        more: Methods to show beside BBp.
        device: PyTorch's name of a device; ``auto`` takes an accelerator where there is one.
        again: Whether to explain pictures again whose results are there.
    """

    pictures: Sequence[str | Path]
    out: Path
    network: str = "efficientnet_lite0"
    rule: str = "softmax_neg_abs"
    temperature: float = 1.0
    fold: bool = True
    fallback: Fallback = "uniform"
    target: str = "top1"
    formats: tuple[str, ...] = ("png",)
    layers: bool = False
    more: tuple[Extra, ...] = ()
    device: str = "auto"
    again: bool = False

    def __post_init__(self) -> None:
        make_rule(self.rule, self.temperature)  # before a network is loaded for nothing
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            wrong = ", ".join(unknown) or "nothing"
            raise PictureRequestError(f"formats: {wrong}; choose some of {', '.join(FORMATS)}.")
        if self.layers and not set(FIGURES) & set(self.formats):
            raise PictureRequestError(
                "layers are drawn, so they need a figure: add png or pdf to the formats."
            )

    def settings(self) -> dict[str, Any]:
        """Plain values that a picture's results depend on, besides picture and weights."""
        return {
            "network": self.network,
            "rule": self.rule,
            "temperature": self.temperature,
            "fold": self.fold,
            "fallback": self.fallback,
            "target": self.target,
            "layers": self.layers,
            "more": {e.name: {**e.settings, "reduction": e.reduction} for e in self.more},
        }
