"""The names of the networks."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from biasmatters.models.errors import UnknownNetworkError

TIMM: Final = "timm/"
CURATED: Final = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "densenet121",
    "googlenet",
)


def names() -> tuple[str, ...]:
    """The curated networks.

    Any other classification network of torchvision is known by torchvision's name too, and timm's
    as ``timm/NAME``, with or without the weights' tag.

    Examples:
        >>> names()[0]
        'efficientnet_lite0'
    """
    return CURATED


def unknown(name: str, known: Iterable[str]) -> UnknownNetworkError:
    """The error for a name that is none, with the nearest ones.

    Args:
        name: That was asked for.
        known: Names that there are.
    """
    near = get_close_matches(name.lower(), list(dict.fromkeys(known)))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UnknownNetworkError(
        f"The zoo has no network '{name}'.{hint} biasmatters.models.zoo.names() lists the curated "
        "ones; torchvision.models.list_models(module=torchvision.models) are known by their own "
        "names, and timm.list_models(pretrained=True) as timm/NAME."
    )
