"""Networks by name, whoever publishes them."""

from __future__ import annotations

from typing import Protocol

from biasmatters.models.zoo import lite, timm_hub, vision
from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.known import TIMM
from biasmatters.models.zoo.pretrained import Pretrained


class Source(Protocol):
    """Who publishes networks."""

    def describe(self, name: str) -> Card:
        """What is known without the weights."""
        ...

    def load(self, name: str) -> Pretrained:
        """The network with its weights."""
        ...


def describe(name: str) -> Card:
    """What is known of a network; no weights are read and none are fetched.

    Args:
        name: One of `names`, another classification network of torchvision, or ``timm/NAME``.

    Raises:
        UnknownNetworkError: There is no such network; with the nearest names.
        ModelOptionError: A network of timm's without classes, or whose preprocessing is no resize
            of the shorter side with a centre crop.
        MissingPackageError: timm is not installed.

    Examples:
        >>> card = describe("resnet18")
        >>> card.origin, card.preprocessing.resize, card.categories[283]
        ('torchvision ResNet18_Weights.IMAGENET1K_V1', 256, 'Persian cat')
    """
    return _source(name).describe(name)


def load(name: str) -> Pretrained:
    """A network with its published weights, from this machine or from the web.

    Global random state, torch.hub's settings and the standard streams are left as they were.

    Args:
        name: As for `describe`.

    Raises:
        UnknownNetworkError: There is no such network; with the nearest names.
        ModelOptionError: As for `describe`, or timm has its weights in no safe format.
        MissingPackageError: A package is not installed; with the command.
        WeightsUnavailableError: The weights are not on this machine and there is no web; with the
            file and its folder.
        DamagedWeightsError: The file has another sha256 than the published one.
    """
    return _source(name).load(name)


def _source(name: str) -> Source:
    if name.startswith(TIMM):
        return timm_hub
    return lite if name in lite.VARIANTS else vision
