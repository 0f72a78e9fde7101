"""NormGrad against autograd on a small network with a residual sum."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.normgrad import NormGrad
from tests.affine.nets import seeded


class Small(nn.Module):
    """Identities before every convolution, whose outputs are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)
        self.kept: list[Tensor] = []

    def keep(self, value: Tensor) -> Tensor:
        value = value * 1
        self.kept.append(value)
        return value

    def forward(self, x: Tensor) -> Tensor:
        self.kept = []
        h = F.relu(self.stem(self.keep(x)))
        h = F.relu(self.block(self.keep(h)) + h)
        pooled = F.leaky_relu(self.squeeze(F.adaptive_avg_pool2d(h, 1)))
        return self.head(pooled.flatten(1))


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    net = Small()
    seeded(net)
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("combine", ["product", "mean"])
def test_equals_the_norms_at_identities(net: Small, x: Tensor, combine: str) -> None:
    value = net(x.clone().requires_grad_())[:, 1].sum()
    grads = torch.autograd.grad(value, net.kept)
    layers = []
    for kept, grad in zip(net.kept, grads, strict=True):
        size = kept.detach().square().sum(1).sqrt() * grad.square().sum(1).sqrt()
        size = size / size.flatten(1).max(1).values[:, None, None]
        layers.append(F.interpolate(size[:, None], (8, 8), mode="bilinear")[:, 0])
    mean = (layers[0] + layers[1]) / 2
    wanted = (layers[0] * layers[1]).sqrt() if combine == "product" else mean
    found = NormGrad(net, combine).explain(x, 1)
    torch.testing.assert_close(found.map.sum(1), wanted)
    torch.testing.assert_close(found.map[:, 0], found.map[:, 1])
    assert found.complete is None
    assert found.target.tolist() == [1, 1, 1]


def test_a_black_picture_has_no_saliency(net: Small) -> None:
    for combine in ("product", "mean"):
        found = NormGrad(net, combine).explain(torch.zeros(1, 2, 8, 8).double(), 0)
        assert bool(found.map.isfinite().all())


def test_settings_and_models_that_do_not_fit(net: Small, x: Tensor) -> None:
    with pytest.raises(MethodError, match="combine='product' or combine='mean', not 'sum'"):
        NormGrad(net, "sum")
    flat = seeded(nn.Sequential(nn.Flatten(), nn.Linear(128, 3)))
    with pytest.raises(MethodError, match="it has: flatten, linear"):
        NormGrad(flat).explain(x, 0)
    with pytest.raises(MethodError, match="pictures"):
        NormGrad(flat).explain(x.flatten(1), 0)
