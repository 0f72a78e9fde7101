"""Random networks over ``(N, C, H, W)`` whose widths, kernels and strides are drawn as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 8
SIZES = (1, 2, 4)
MODES = ("zeros", "replicate", "circular", "reflect")


@dataclass(frozen=True)
class Draw:
    """One step: its operation, and the numbers that it takes those it needs of.

    Attributes:
        op: One of `STEPS`.
        width: Channels that come out of a layer, 1 to 6.
        kernel: 1 to 3.
        stride: 1 or 2.
        dilation: 1 or 2.
        group: Which of the divisors that both widths have is the number of groups.
        mode: Which padding mode.
    """

    op: str
    width: int = 4
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    group: int = 0
    mode: int = 0


def convolution(x: Tensor, draw: Draw) -> nn.Module:
    """Padded so that nothing becomes smaller than one place."""
    inner = x.shape[1]
    common = gcd(inner, draw.width)
    divisors = [d for d in range(1, common + 1) if common % d == 0]
    padding = -(-draw.dilation * (draw.kernel - 1) // 2)
    mode = MODES[draw.mode] if padding < min(x.shape[2:]) else "zeros"
    return nn.Conv2d(
        inner, draw.width, draw.kernel, draw.stride, padding, draw.dilation,
        divisors[draw.group % len(divisors)], bias=draw.group != 1, padding_mode=mode,
    )  # fmt: skip


def transposed(x: Tensor, draw: Draw) -> nn.Module:
    common = gcd(x.shape[1], draw.width)
    groups = common if draw.group else 1
    return nn.ConvTranspose2d(
        x.shape[1], draw.width, draw.kernel, draw.stride, groups=groups, dilation=draw.dilation
    )


LAYERS: dict[str, Callable[[Tensor, Draw], nn.Module]] = {
    "conv": convolution,
    "transposed": transposed,
    "norm": lambda x, _: nn.BatchNorm2d(x.shape[1]),
    "prelu": lambda x, _: nn.PReLU(x.shape[1]),
    "maxpool": lambda x, d: nn.MaxPool2d(d.kernel, d.stride, d.kernel // 2),
    "avgpool": lambda x, d: nn.AvgPool2d(
        d.kernel, d.stride, d.kernel // 2, count_include_pad=d.group > 0
    ),
    "concat": lambda x, d: nn.Conv2d(2 * x.shape[1], d.width, 1),
}

SIMPLE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky": lambda t: F.leaky_relu(t, 0.3),
    "hardtanh": lambda t: nn.Hardtanh(-0.5, 0.7, inplace=True)(t * 1.5),
    "abs": torch.abs,
    "clamp": lambda t: t.clamp(min=-0.3),
    "view": lambda t: t.permute(0, 2, 3, 1).reshape(t.shape[0], -1).view_as(t) * 0.5,
    "scale": lambda t: 2 * t / 3,
    "shift": lambda t: t - torch.linspace(-1, 1, t.shape[1], dtype=t.dtype).view(-1, 1, 1),
    "flip": lambda t: t.flip(2).roll(1, 3),
    "pad": lambda t: F.pad(t, (1, 0, 0, 1), value=0.5),
    "upsample": lambda t: F.interpolate(t, scale_factor=2, mode="bilinear")[:, :, :3],
}


def in_place(x: Tensor, shared: nn.Module) -> Tensor:
    y = shared(x)
    y.mul_(2).add_(1)
    y += x
    return y.relu_()


def write(x: Tensor, shared: nn.Module) -> Tensor:
    y = shared(x)
    y[:, 0] = x[:, -1] * 2
    y[:, 1:].clamp_(max=0.4)
    return y


# With a layer that all steps of one width share.
SHARING: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "residual": lambda t, shared: t + F.relu(shared(t)),
    "shared": lambda t, shared: shared(F.relu(shared(t))),
    "maximum": lambda t, shared: torch.maximum(t, shared(t)),
    "in_place": in_place,
    "write": write,
}

STEPS = (*LAYERS, *SIMPLE, *SHARING, "dropout")


class Graph(nn.Module):
    """A chain of drawn steps, with branches that come back; built as it first runs."""

    def __init__(self, draws: list[Draw], channels: int, side: int = 5, classes: int = 3) -> None:
        super().__init__()
        self.draws, self.layers, self.shared = draws, nn.ModuleDict(), nn.ModuleDict()
        x = torch.zeros(1, channels, side, side)
        with torch.no_grad():
            for i, draw in enumerate(draws):
                if draw.op in LAYERS:
                    self.layers[str(i)] = LAYERS[draw.op](x, draw).eval()
                elif str(x.shape[1]) not in self.shared:
                    self.shared[str(x.shape[1])] = nn.Conv2d(x.shape[1], x.shape[1], 1)
                x = self._run(i, x)
        self.head = nn.Linear(x.shape[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.draws)):
            x = self._run(i, x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))

    def _run(self, i: int, x: Tensor) -> Tensor:
        op = self.draws[i].op
        if op == "concat":
            x = torch.cat([x, 1 - x], 1)
        if op in LAYERS:
            x = self.layers[str(i)](x)
        elif op in SHARING:
            x = SHARING[op](x, self.shared[str(x.shape[1])])
        elif op == "dropout":
            x = F.dropout(x, 0.5, self.training and bool(self.layers))
        else:
            x = SIMPLE[op](x)
        return x[..., :LARGEST, :LARGEST]


def build(draws: list[Draw], seed: int) -> tuple[Graph, Tensor]:
    """A graph in float64 with random parameters, and an input for it."""
    torch.manual_seed(seed)
    channels = 1 + seed % 3
    net = Graph(draws, channels)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.4)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return net.double().eval(), torch.randn(SIZES[seed % 3], channels, 5, 5, dtype=torch.float64)
