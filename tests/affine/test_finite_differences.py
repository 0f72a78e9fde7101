"""The weight against central differences of the model itself, feature by feature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import Residual, Written, seeded
from tests.affine.reach import largest_move, recorded

Maker = Callable[[], nn.Module]


class Tokens(nn.Module):
    """Attention, normalisation, a smooth activation and products over ``(N, 3, 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(
            4, 2, 6, activation="gelu", norm_first=True, batch_first=True
        )
        self.norm, self.gate, self.head = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.block(x))
        h = h * self.gate(x).sigmoid()
        return self.head((h.softmax(1) * h).sum(1))


class Resampled(nn.Module):
    """Interpolations, up and down, and a product of what came out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 2), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(F.interpolate(x, size=(5, 4), mode="bicubic"))
        wide = F.interpolate(h, scale_factor=1.5, mode="bilinear")
        h = F.interpolate(wide, size=(2, 3), mode="area")
        return self.head((h * F.silu(h)).flatten(1))


class Products(nn.Module):
    """Matrix products of activations, quotients, norms and powers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        gram = a @ b.mT / (1 + x.square().sum((1, 2), keepdim=True))
        return self.head(F.normalize(gram.flatten(1), dim=1) + gram.flatten(1) ** 3)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.PReLU(), nn.Linear(7, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 3, 2), nn.Hardtanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3),
    )  # fmt: skip


def activations() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.LayerNorm(8), nn.Softplus(),
        nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4), nn.Softmax(1),
    )  # fmt: skip


PIECEWISE: dict[str, tuple[Maker, tuple[int, ...]]] = {
    "mlp": (mlp, (6,)),
    "cnn": (cnn, (2, 6, 6)),
    "residual": (Residual, (2, 4, 4)),
    "written": (Written, (6,)),
}
SMOOTH: dict[str, tuple[Maker, tuple[int, ...]]] = {
    "activations": (activations, (5,)),
    "tokens": (Tokens, (3, 4)),
    "resampled": (Resampled, (1, 3, 3)),
    "products": (Products, (3, 4)),
}


def made(maker: Maker, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return seeded(maker()), torch.randn(2, *shape, dtype=torch.float64)


def central(net: nn.Module, x: Tensor, h: float) -> Tensor:
    """``(f(x + h e_q) - f(x - h e_q)) / 2h`` for every feature q and sample, output 1."""
    eye = h * torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    with torch.no_grad():
        rows = [(net(row + eye) - net(row - eye))[:, 1] / (2 * h) for row in x.split(1)]
    return torch.stack(rows).reshape(x.shape)


def assert_inside(net: nn.Module, x: Tensor, h: float, margin: Tensor) -> None:
    """No step of a size h moves a pre-activation by as much as the margin."""
    before = recorded(net, x, 1)
    for q in range(x[0].numel()):
        for size in (h, -h):
            step = torch.zeros_like(x)
            step.flatten(1)[:, q] = size
            moves = largest_move(before, recorded(net, x + step, 1))
            assert bool((moves < margin).all())


@pytest.mark.parametrize("name", PIECEWISE)
def test_inside_the_margin_differences_are_exact(name: str) -> None:
    """Up to round-off, at a step that is not small at all."""
    net, x = made(*PIECEWISE[name])
    form = bm.local_affine(net, x, 1)
    h = float(form.certificate.margin.min()) / 20
    assert h > 1e-6
    assert_inside(net, x, h, form.certificate.margin)
    torch.testing.assert_close(form.weight, central(net, x, h), rtol=1e-8, atol=1e-13 / h)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_networks_to_second_order(name: str) -> None:
    """The error falls with the square of the step, and is small at a small one."""
    net, x = made(*SMOOTH[name])
    weight = bm.local_affine(net, x, 1).weight
    coarse, fine = ((central(net, x, h) - weight).abs().max() for h in (1e-2, 1e-3))
    assert 30 < float(coarse / fine) < 300
    torch.testing.assert_close(weight, central(net, x, 1e-5), rtol=1e-7, atol=1e-9)
    assert float(weight.abs().max()) > 1e-2
