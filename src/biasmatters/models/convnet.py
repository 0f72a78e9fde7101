"""The shape that all our own convolutional networks have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from biasmatters.models.activations import make_activation
from biasmatters.models.building import (
    POOL,
    check_counts,
    check_size,
    conv_stack,
    initialise,
    pair,
)


@dataclass(frozen=True)
class ConvPlan:
    """Sizes of a convolutional network.

    Attributes:
        steps: Output channels of a convolution, or ``POOL`` for a 2 x 2 max-pool.
        dense: Units of the hidden dense layers.
        kernel: Odd kernel size of the convolutions in pixels.
        dropout: Share of the units dropped in training before every dense layer.
    """

    steps: Sequence[int | str]
    dense: Sequence[int] = ()
    kernel: int = 3
    dropout: float = 0.0

    @property
    def pools(self) -> int:
        """How often the picture is halved."""
        return sum(step == POOL for step in self.steps)

    @property
    def channels(self) -> int:
        """Channels of the last convolution."""
        return [step for step in self.steps if isinstance(step, int)][-1]


class ConvNet(nn.Module):
    """Convolutions, max-pools, then dense layers; no batch-norm."""

    def __init__(
        self,
        plan: ConvPlan,
        in_channels: int,
        image_size: int | Sequence[int],
        num_classes: int,
        bias: bool,
        activation: str,
    ) -> None:
        """Make the network; the arguments are those of its subclasses.

        Raises:
            ModelOptionError: If the pictures are too small for the pools.
        """
        super().__init__()
        height, width = pair(image_size)
        check_counts(in_channels=in_channels, num_classes=num_classes)
        check_size(type(self).__name__, (height, width), 2**plan.pools)
        self.features = nn.Sequential(
            *conv_stack(
                in_channels, plan.steps, kernel=plan.kernel, bias=bias, activation=activation
            )
        )
        units = plan.channels * (height >> plan.pools) * (width >> plan.pools)
        head: list[nn.Module] = [nn.Flatten()]
        for size in (*plan.dense, num_classes):
            if plan.dropout > 0:
                head.append(nn.Dropout(plan.dropout))
            head += [nn.Linear(units, size, bias=bias), make_activation(activation)]
            units = size
        self.head = nn.Sequential(*head[:-1])
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of pictures ``(N, C, H, W)``."""
        logits: Tensor = self.head(self.features(x))
        return logits
