"""Networks that take the engine through every kind of map, in float64 and evaluation mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.affine.nets import Residual, seeded


def mixed() -> nn.Module:
    """Strides, groups, dilation, depthwise, norms, pools, bends of several kinds."""
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, 2, 1, groups=2), nn.LeakyReLU(0.2), nn.MaxPool2d(2),
        nn.Conv2d(12, 6, 3, padding=2, dilation=2, padding_mode="reflect"), nn.Hardtanh(),
        nn.ConvTranspose2d(6, 4, 3, 2), nn.PReLU(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip


def wide() -> nn.Module:
    """Layers large enough for the softmax rules to go by expansions."""
    return nn.Sequential(
        nn.Conv2d(2, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, padding=1),
        nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 48, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 3),
    )  # fmt: skip


class Attention(nn.Module):
    """Tokens, attention, layer norm: curved, and first-order alone."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Conv2d(2, 8, 4, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = self.tokens(x).flatten(2).transpose(1, 2)
        t = t + self.attention(t, t, t, need_weights=False)[0]
        return self.head(nn.functional.gelu(self.norm(t)).mean(1))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "mixed": mixed,
    "wide": wide,
    "attention": Attention,
}


def network(name: str) -> nn.Module:
    """One of them, always with the same parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return seeded(NETWORKS[name](), 0.3)


def pictures(count: int = 3, side: int = 16) -> Tensor:
    """``(count, 2, side, side)`` in float64."""
    make = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, side, side, dtype=torch.float64, generator=make)
