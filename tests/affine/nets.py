"""Small networks for the engine's tests, with random parameters and statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seeded(module: nn.Module, scale: float = 0.5) -> nn.Module:
    """Random biases and statistics, so that no term of the bias can hide."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, scale)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return module.double().eval()


class Residual(nn.Module):
    """Functional and in-place activations, a reused module, a residual sum, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.shift = nn.Parameter(torch.randn(4, 1, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        g = self.act(self.norm(self.first(x)))
        h = self.shared(g)
        h += g
        h = self.drop(F.relu(h, inplace=True))
        h = self.shared(h) + self.shift
        both = torch.cat([F.max_pool2d(h, 2), F.avg_pool2d(g, 2)], 1)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(both, 1), 1))


class Written(nn.Module):
    """Writes into tensors and views of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lin(x)
        left = h[:, :3]
        left.mul_(2).add_(0.5)
        h[:, 4] = x[:, 0] * 3
        rows = h.view(h.shape[0], 2, 3)
        F.relu_(rows[:, 1])
        canvas = torch.zeros(x.shape[0], 7, dtype=x.dtype)
        canvas[:, 1:] = h
        canvas[:, :2].add_(x[:, :2])
        out = self.lin(canvas[:, :6])
        out.relu_()
        return torch.stack([out.sum(1), rows.sum((1, 2)), left.sum(1)], 1)
