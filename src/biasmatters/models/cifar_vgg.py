"""A VGG for CIFAR without batch-norm."""

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.models.building import POOL
from biasmatters.models.convnet import ConvNet, ConvPlan


class CifarVGG(ConvNet):
    """Blocks of 3 x 3 convolutions that end in a max-pool, then one hidden dense layer.

    In the style of K. Simonyan, A. Zisserman, ICLR 2015; batch-norm-free, so that each bias of
    the network is a parameter of a convolution or a dense layer.
    """

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
        num_classes: int = 10,
        bias: bool = True,
        activation: str = "relu",
        blocks: Sequence[Sequence[int]] = ((64, 64), (128, 128), (256, 256)),
        dense: int = 256,
        dropout: float = 0.3,
    ) -> None:
        """Make the network.

        Args:
            in_channels: Channels of the pictures.
            image_size: Height and width in pixels, or one number for both.
            num_classes: How many logits.
            bias: Whether convolutions and dense layers have a bias.
            activation: ``relu``, ``leaky_relu``, ``prelu`` or ``hardtanh``.
            blocks: Output channels of the convolutions of each block.
            dense: Units of the hidden dense layer.
            dropout: Share of the units dropped in training before each dense layer.
        """
        steps: list[int | str] = []
        for block in blocks:
            steps += [*block, POOL]
        plan = ConvPlan(steps, dense=(dense,), dropout=dropout)
        super().__init__(plan, in_channels, image_size, num_classes, bias, activation)
