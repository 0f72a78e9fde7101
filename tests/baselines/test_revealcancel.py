"""DeepLIFT RevealCancel against loops over units, and its completeness on real architectures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from biasmatters.baselines.deeplift_revealcancel import DeepLiftRevealCancel
from biasmatters.baselines.errors import MethodError
from tests.affine.nets import Residual, seeded


def _mlp() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 7), nn.Sigmoid(), nn.Linear(7, 6), nn.ReLU(),
        nn.Linear(6, 3),
    )  # fmt: skip
    seeded(net)
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()


FUNCTIONS: dict[type, tuple[Callable[[float], float], Callable[[float], float]]] = {
    nn.ReLU: (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    nn.Sigmoid: (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    ),
}


def _activation(layer: nn.Module, z: float, z0: float, up: float, down: float) -> list[float]:
    """The pair after one unit, and its two multipliers."""
    f, slope = FUNCTIONS[type(layer)]
    high = ((f(z0 + up) - f(z0)) + (f(z0 + down + up) - f(z0 + down))) / 2
    low = ((f(z0 + down) - f(z0)) + (f(z0 + up + down) - f(z0 + up))) / 2
    return [
        high,
        low,
        high / up if up else slope(z),
        low / down if down else slope(z),
    ]


def _pairs(w: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """``(units, 2)``: a contribution belongs to one side by its sign."""
    pairs = np.zeros((len(w), 2))
    for p in range(w.shape[0]):
        for q in range(w.shape[1]):
            pairs[p, 0 if w[p, q] * rise[q] > 0 else 1] += w[p, q] * rise[q]
    return pairs


def _back(w: np.ndarray, rise: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Both multipliers of every input of a linear layer."""
    found = np.zeros((w.shape[1], 2))
    for q in range(w.shape[1]):
        for p in range(w.shape[0]):
            if rise[q] == 0:
                share = multipliers[p].mean()
            else:
                share = multipliers[p, 0 if w[p, q] * rise[q] > 0 else 1]
            found[q] += w[p, q] * share
    return found


def _loops(net: nn.Sequential, x: np.ndarray, x0: np.ndarray, target: int) -> np.ndarray:
    steps: list[tuple[np.ndarray, np.ndarray] | np.ndarray] = []
    value, base = x, x0
    pairs = np.zeros((0, 2))
    for layer in net:
        if isinstance(layer, nn.Linear):
            w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            steps.append((w, value - base))
            pairs = _pairs(w, value - base)
            value, base = w @ value + b, w @ base + b
        else:
            rows = [
                _activation(layer, z, z0, *pair)
                for z, z0, pair in zip(value, base, pairs, strict=True)
            ]
            steps.append(np.array(rows)[:, 2:])
            f = FUNCTIONS[type(layer)][0]
            value, base = np.array([f(z) for z in value]), np.array([f(z) for z in base])
    multipliers = np.zeros((len(value), 2))
    multipliers[target] = 1
    for step in reversed(steps):
        multipliers = _back(*step, multipliers) if isinstance(step, tuple) else multipliers * step
    rise = x - x0
    return multipliers[:, 0] * rise


@pytest.mark.parametrize("kind", ["zero", "number", "tensor"])
def test_equals_loops(kind: str, x: Tensor) -> None:
    net = _mlp()
    baseline = {"zero": 0.0, "number": 0.3, "tensor": torch.linspace(-1, 1, 5)}[kind]
    x[1, 2] = 0
    found = DeepLiftRevealCancel(net, baseline).explain(x, 2)
    base = torch.as_tensor(baseline).to(x).expand_as(x)
    for i in range(len(x)):
        wanted = _loops(net, x[i].numpy(), base[i].numpy(), 2)
        np.testing.assert_allclose(found.map[i].numpy(), wanted, rtol=1e-9, atol=1e-11)
    rise = (net(x) - net(base))[:, 2].detach()
    torch.testing.assert_close(found.map.sum(1), rise)
    assert found.complete
    assert found.target.tolist() == [2] * 4


def test_an_and_gate_shares_where_rescale_does_not() -> None:
    """The paper's example, min(i1, i2) = i1 - relu(i1 - i2): both inputs get half."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 0.0]]))
        net[2].weight.copy_(torch.tensor([[-1.0, 1.0]]))
    net = net.double().eval()
    found = DeepLiftRevealCancel(net).explain(torch.tensor([[3.0, 3.0], [5.0, 2.0]]).double())
    torch.testing.assert_close(found.map, torch.tensor([[1.5, 1.5], [1.0, 1.0]]).double())


class Padded(nn.Module):
    """Subtraction, a negative slope, padding, a concatenation with itself, both kinds of pool."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 3, stride=2), nn.Conv2d(2, 3, 3, stride=2)
        self.up = nn.ConvTranspose2d(6, 2, 2)
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1))
        h = F.relu6(self.one(x) - self.two(x) * -0.5)
        h = 1 - torch.cat([h, F.hardtanh(-h)], 1)
        h = F.max_pool2d(F.elu(self.up(h)) - 0.1, 2, padding=1)
        return self.head(h.amax((2, 3)) + F.dropout(h, training=False).mean((2, 3)))


@pytest.mark.parametrize("net", [Residual, Padded])
@pytest.mark.parametrize("target", [1, lambda out: out[:, 2] - out[:, 0]])
def test_complete_on_many_operations(net: type, target: object) -> None:
    torch.manual_seed(4)
    made = seeded(net())
    x = 2 * torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(5)).double()
    base = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(6)).double()
    found = DeepLiftRevealCancel(made, base).explain(x, target)
    pick = target if callable(target) else lambda out: out[:, target]
    rise = pick(made(x)) - pick(made(base[None]))
    torch.testing.assert_close(found.map.flatten(1).sum(1), rise.detach(), rtol=1e-9, atol=1e-9)
    assert found.complete
    assert float(found.map.abs().max()) > 0


def test_complete_on_resnet_18() -> None:
    torch.manual_seed(0)
    net = seeded(torchvision.models.resnet18(num_classes=5), 0.05).float()
    x = torch.rand(2, 3, 32, 32)
    found = DeepLiftRevealCancel(net).explain(x)
    assert found.complete


def test_a_sample_is_explained_alone(x: Tensor) -> None:
    method = DeepLiftRevealCancel(_mlp(), 0.1)
    alone = torch.cat([method.explain(x[i : i + 1], 0).map for i in range(len(x))])
    torch.testing.assert_close(method.explain(x, 0).map, alone)


class Branching(nn.Module):
    """Goes another way for large inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lin(x)
        return torch.relu(h) if float(x.detach().abs().max()) > 0.1 else torch.sigmoid(h)


def test_what_does_not_fit_is_refused(x: Tensor) -> None:
    net = seeded(nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)))
    with pytest.raises(MethodError, match=r"no rule for 'layer_norm' in '1'.*IntegratedGradients"):
        DeepLiftRevealCancel(net).explain(x, 0)
    gated = seeded(nn.Sequential(nn.Linear(5, 3), nn.SiLU()))
    with pytest.raises(MethodError, match="no rule for 'silu'"):
        DeepLiftRevealCancel(gated).explain(x, 0)
    with pytest.raises(MethodError, match=r"'relu' in .* against 'sigmoid'"):
        DeepLiftRevealCancel(seeded(Branching())).explain(x, 0)
    with pytest.raises(MethodError, match="number or a tensor"):
        DeepLiftRevealCancel(net, "zero")
    with pytest.raises(MethodError, match="not finite"):
        DeepLiftRevealCancel(net, float("nan"))
    with pytest.raises(MethodError, match=r"baseline \(4,\) does not broadcast to \(4, 5\)"):
        DeepLiftRevealCancel(net, torch.zeros(4)).explain(x, 0)
