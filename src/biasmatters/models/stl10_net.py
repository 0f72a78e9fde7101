"""The paper's network for STL-10."""

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.models.building import POOL
from biasmatters.models.convnet import ConvNet, ConvPlan


class STL10Net(ConvNet):
    """Five convolutions (channels, kernel, padding), four max-pools, one dense layer.

    (32,3,1) pool (64,3,1) pool (64,3,1) pool (128,3,1) pool (128,3,1) dense, from S. Wang,
    T. Zhou, J. Bilmes, Bias Also Matters, ICML 2019. That the pools are 2 x 2 and an activation
    follows every convolution is assumed.
    """

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 96,
        num_classes: int = 10,
        bias: bool = True,
        activation: str = "relu",
    ) -> None:
        """Make the network.

        Args:
            in_channels: Channels of the pictures.
            image_size: Height and width in pixels, or one number for both.
            num_classes: How many logits.
            bias: Whether convolutions and the dense layer have a bias.
            activation: ``relu``, ``leaky_relu``, ``prelu`` or ``hardtanh``.
        """
        plan = ConvPlan((32, POOL, 64, POOL, 64, POOL, 128, POOL, 128))
        super().__init__(plan, in_channels, image_size, num_classes, bias, activation)
