"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from biasmatters.models.activations import make_activation
from biasmatters.models.building import check_counts, initialise, pair


class MLP(nn.Module):
    """Dense layers over all pixels, with an activation between them."""

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        num_classes: int = 10,
        bias: bool = True,
        activation: str = "relu",
        hidden: Sequence[int] = (256, 128),
    ) -> None:
        """Make the network.

        Args:
            in_channels: Channels of the pictures.
            image_size: Height and width in pixels, or one number for both.
            num_classes: How many logits.
            bias: Whether the dense layers have a bias.
            activation: ``relu``, ``leaky_relu``, ``prelu`` or ``hardtanh``.
            hidden: Units of each hidden layer.
        """
        super().__init__()
        height, width = pair(image_size)
        check_counts(in_channels=in_channels, num_classes=num_classes)
        layers: list[nn.Module] = [nn.Flatten()]
        units = in_channels * height * width
        for size in hidden:
            check_counts(hidden=size)
            layers += [nn.Linear(units, size, bias=bias), make_activation(activation)]
            units = size
        self.layers = nn.Sequential(*layers, nn.Linear(units, num_classes, bias=bias))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of pictures ``(N, C, H, W)``."""
        logits: Tensor = self.layers(x)
        return logits
