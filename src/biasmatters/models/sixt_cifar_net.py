"""The CIFAR network of "When Explanations Lie"."""

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.models.building import POOL
from biasmatters.models.convnet import ConvNet, ConvPlan


class SixtCifarNet(ConvNet):
    """C32-C64-MP-C128-C128-MP-D-FC1024-D-FC with 3 x 3 same convolutions, dropout 0.5.

    From L. Sixt, M. Granz, T. Landgraf, When Explanations Lie, ICML 2020.
    """

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
        num_classes: int = 10,
        bias: bool = True,
        activation: str = "relu",
        dropout: float = 0.5,
    ) -> None:
        """Make the network.

        Args:
            in_channels: Channels of the pictures.
            image_size: Height and width in pixels, or one number for both.
            num_classes: How many logits.
            bias: Whether convolutions and dense layers have a bias.
            activation: ``relu``, ``leaky_relu``, ``prelu`` or ``hardtanh``.
            dropout: Share of the units dropped in training before each dense layer.
        """
        plan = ConvPlan((32, 64, POOL, 128, 128, POOL), dense=(1024,), dropout=dropout)
        super().__init__(plan, in_channels, image_size, num_classes, bias, activation)
