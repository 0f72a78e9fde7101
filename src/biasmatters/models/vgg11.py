"""Torchvision's VGG-11, with a switch for the biases and a choice of activation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import vgg11  # type: ignore[import-untyped]

from biasmatters.models.activations import make_activation
from biasmatters.models.building import check_counts, check_size, pair

_POOLS = 5


class VGG11(nn.Module):
    """VGG-11 (K. Simonyan, A. Zisserman, ICLR 2015), initialised as torchvision does.

    With 3 channels, ReLU and biases, ``self.network`` takes torchvision's weights as they are.
    """

    def __init__(
        self,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
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
            dropout: Share of the units dropped in training after each hidden dense layer.
        """
        super().__init__()
        check_counts(in_channels=in_channels, num_classes=num_classes)
        check_size("VGG11", pair(image_size), 2**_POOLS)
        network: nn.Module = vgg11(weights=None, num_classes=num_classes, dropout=dropout)
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, make_activation(activation))
                elif isinstance(child, nn.Conv2d) and child.in_channels == 3:
                    setattr(parent, name, _first(child, in_channels))
        if not bias:
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.register_parameter("bias", None)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of pictures ``(N, C, H, W)``."""
        logits: Tensor = self.network(x)
        return logits


def _first(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """The first convolution for another number of input channels, initialised alike."""
    if in_channels == conv.in_channels:
        return conv
    first = nn.Conv2d(in_channels, conv.out_channels, 3, padding=1)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    if first.bias is not None:
        nn.init.zeros_(first.bias)
    return first
