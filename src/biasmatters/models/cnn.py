"""A small convolutional network for MNIST and Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.models.building import POOL
from biasmatters.models.convnet import ConvNet, ConvPlan


class CNN(ConvNet):
    """Convolutions, each halved by a max-pool, then one hidden dense layer."""

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        num_classes: int = 10,
        bias: bool = True,
        activation: str = "relu",
        channels: Sequence[int] = (16, 48),
        dense: int = 128,
        kernel: int = 3,
    ) -> None:
        """Make the network.

        Args:
            in_channels: Channels of the pictures.
            image_size: Height and width in pixels, or one number for both.
            num_classes: How many logits.
            bias: Whether convolutions and dense layers have a bias.
            activation: ``relu``, ``leaky_relu``, ``prelu`` or ``hardtanh``.
            channels: Output channels of each convolution.
            dense: Units of the hidden dense layer.
            kernel: Odd kernel size in pixels.
        """
        steps: list[int | str] = []
        for width in channels:
            steps += [width, POOL]
        plan = ConvPlan(steps, dense=(dense,), kernel=kernel)
        super().__init__(plan, in_channels, image_size, num_classes, bias, activation)
