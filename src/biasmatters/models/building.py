"""What the networks have in common: checks, weight initialisation, plain convolutional stacks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from biasmatters.models.activations import make_activation
from biasmatters.models.errors import ModelOptionError

POOL = "pool"


def pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width; one number stands for both.

    Raises:
        ModelOptionError: If it is neither one nor two positive numbers.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or min(sides) < 1:
        raise ModelOptionError(
            f"image_size={image_size}: give one positive number, or height and width."
        )
    return sides[0], sides[1]


def check_size(network: str, size: tuple[int, int], smallest: int) -> None:
    """Refuse pictures from which nothing would be left after the pools."""
    if min(size) < smallest:
        raise ModelOptionError(
            f"{network} needs pictures of at least {smallest} x {smallest} pixels and these have "
            f"{size[0]} x {size[1]}; use larger pictures or a network with fewer pools."
        )


def check_counts(**counts: int) -> None:
    """Refuse numbers of channels, classes or units below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ModelOptionError(f"{name}={count}: give 1 or more.")


def conv_stack(
    in_channels: int, plan: Sequence[int | str], *, kernel: int, bias: bool, activation: str
) -> list[nn.Module]:
    """Same-size convolutions, each with its activation, and 2 x 2 max-pools.

    Args:
        in_channels: Channels of the input.
        plan: Output channels of a convolution, or ``POOL``.
        kernel: Odd kernel size in pixels.
        bias: Whether the convolutions have a bias.
        activation: Name of the activation.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ModelOptionError(f"kernel={kernel}: give an odd number of pixels.")
    layers: list[nn.Module] = []
    channels = in_channels
    for step in plan:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
            continue
        check_counts(channels=step)
        layers.append(nn.Conv2d(channels, step, kernel, padding=kernel // 2, bias=bias))
        layers.append(make_activation(activation))
        channels = step
    return layers


def initialise(network: nn.Module) -> None:
    """Draw weights with variance ``2 / fan_in`` and set biases to zero.

    Without batch-norm this keeps the activations' scale through deep stacks (K. He et al.,
    Delving Deep into Rectifiers, ICCV 2015, eq. 10).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
