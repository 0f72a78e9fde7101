"""A pretrained network as a configuration file asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from biasmatters.models.building import pair
from biasmatters.models.errors import ModelOptionError
from biasmatters.models.zoo.card import Card
from biasmatters.models.zoo.catalogue import describe, load


def network(
    pretrained: str,
    in_channels: int = 3,
    image_size: int | Sequence[int] = 224,
    num_classes: int = 1000,
    bias: bool = True,
) -> nn.Module:
    """A pretrained network, for pictures and classes such as it was trained on.

    Args:
        pretrained: A name for `biasmatters.models.zoo.load`.
        in_channels: Channels of the pictures; the network has its own number.
        image_size: Height and width in pixels, or one number for both. The weights are the same
            for every size; `describe` says which they were made for.
        num_classes: How many logits; the network has its own number.
        bias: Whether the network has biases; it was trained with them.

    Returns:
        ``(N, C, H, W)`` to logits ``(N, num_classes)``, in evaluation mode, on the CPU.

    Raises:
        ModelOptionError: A pretrained network cannot be had with these options.
    """
    pair(image_size)
    _check(describe(pretrained), in_channels, num_classes, bias)
    return load(pretrained).network


def _check(card: Card, in_channels: int, num_classes: int, bias: bool) -> None:
    """Refuse what would need other weights than the published ones."""
    channels, classes = len(card.preprocessing.mean), len(card.categories)
    if not bias:
        raise ModelOptionError(
            f"{card.name} was trained with its biases and there are no weights without them: "
            "leave bias=True, or train a network of ours without, e.g. "
            "biasmatters.models.VGG11(bias=False)."
        )
    if in_channels != channels:
        raise ModelOptionError(
            f"{card.name} takes pictures of {channels} channels and these have {in_channels}: "
            f"use data with {channels} channels, or train a network of ours, e.g. "
            f"biasmatters.models.VGG11(in_channels={in_channels})."
        )
    if num_classes != classes:
        raise ModelOptionError(
            f"{card.name} tells {classes} classes apart and the data have {num_classes}: use the "
            f"data it was trained on ({card.origin}), or train a network of ours, e.g. "
            f"biasmatters.models.VGG11(num_classes={num_classes})."
        )
