"""FullGrad: its terms against perturbed biases, its maps against both years written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.fullgrad import FullGrad, bias_gradients
from biasmatters.baselines.modified_backward import recorded
from tests.affine.nets import Residual, seeded


class Small(nn.Module):
    """Convolution, batch-norm, ReLU, twice, with a place to perturb every bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.next = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(16, 3)
        self.zeros: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.at("norm", self.norm(self.at("conv", self.conv(x)))))
        h = F.relu(self.at("next", self.next(h)))
        return self.at("head", self.head(F.max_pool2d(h, 2).flatten(1)))

    def at(self, name: str, value: Tensor) -> Tensor:
        return value + self.zeros[name] if name in self.zeros else value


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    net = Small()
    seeded(net)
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def _perturbed(net: Small, x: Tensor, target: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The input's gradient, and each bias times the gradient by a zero that is added to it."""
    net.zeros = {}
    shapes = {
        "conv": (3, 3, 6, 6), "norm": (3, 3, 6, 6), "next": (3, 4, 4, 4), "head": (3, 3),
    }  # fmt: skip
    scale = net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()
    biases = {
        "conv": net.conv.bias[:, None, None],
        "norm": (net.norm.bias - net.norm.running_mean * scale)[:, None, None],
        "next": net.next.bias[:, None, None],
        "head": net.head.bias,
    }
    net.zeros = {k: torch.zeros(s).double().requires_grad_() for k, s in shapes.items()}
    leaf = x.clone().requires_grad_()
    value = net(leaf)[:, target].sum()
    grads = torch.autograd.grad(value, [leaf, *net.zeros.values()])
    terms = {k: (g * biases[k]).detach() for k, g in zip(shapes, grads[1:], strict=True)}
    net.zeros = {}
    return grads[0], terms


def test_bias_gradients_equal_those_of_perturbed_biases(net: Small, x: Tensor) -> None:
    recording = recorded(net, x, 1)
    found = bias_gradients(recording)
    grad, wanted = _perturbed(net, x, 1)
    assert found.keys() == wanted.keys()
    for name, term in wanted.items():
        torch.testing.assert_close(found[name], term, rtol=1e-6, atol=1e-6)
    total = (grad * x).sum((1, 2, 3)) + sum(t.flatten(1).sum(1) for t in found.values())
    torch.testing.assert_close(total, net(x)[:, 1].detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("target", [0, 2])
def test_bias_gradients_are_what_bbp_hands_down(x: Tensor, target: int) -> None:
    torch.manual_seed(3)
    recording = recorded(seeded(Residual()), x, target)
    found = bias_gradients(recording)
    for row in recording.ledger():
        torch.testing.assert_close(found[row.name].flatten(1).sum(1), row.share)
    linear = (recording.weights[0] * x).flatten(1).sum(1)
    total = linear + sum(term.flatten(1).sum(1) for term in found.values())
    torch.testing.assert_close(total, recording.output, rtol=1e-9, atol=1e-9)


def _scaled_2019(values: Tensor) -> Tensor:
    values = values.abs()
    values = values - values.min()
    return values / (values.max() + 1e-6)


def _scaled_2023(values: Tensor) -> Tensor:
    rows = [value - value.min() for value in values.abs()]
    return torch.stack([row / (row.max() + 1e-6) for row in rows])


@pytest.mark.parametrize("year", [2019, 2023])
def test_maps_of_both_years(net: Small, x: Tensor, year: int) -> None:
    grad, terms = _perturbed(net, x, 2)
    if year == 2019:
        maps = [grad * x, terms["conv"] + terms["norm"], terms["next"]]
    else:
        maps = [grad * x, terms["conv"], terms["norm"], terms["next"]]
    scaled = _scaled_2019 if year == 2019 else _scaled_2023
    wanted = sum(
        F.interpolate(scaled(m), (6, 6), mode="bilinear", align_corners=year == 2023).sum(1)
        for m in maps
    )
    found = FullGrad(net, year).explain(x, 2)
    torch.testing.assert_close(found.map.sum(1), wanted)
    torch.testing.assert_close(found.map[:, 0], found.map[:, 1])
    assert found.complete is None
    assert found.target.tolist() == [2, 2, 2]


def test_only_2019_depends_on_the_batch(net: Small, x: Tensor) -> None:
    for year, same in ((2019, False), (2023, True)):
        method = FullGrad(net, year)
        whole = method.explain(x, 0).map
        alone = torch.cat([method.explain(x[i : i + 1], 0).map for i in range(len(x))])
        assert torch.allclose(whole, alone) is same


def test_settings_and_inputs_that_do_not_fit(net: Small) -> None:
    with pytest.raises(MethodError, match="year=2019 or year=2023, not 2021"):
        FullGrad(net, 2021)
    with pytest.raises(MethodError, match=r"pictures \(N, C, H, W\), not \(2, 4\)"):
        FullGrad(seeded(nn.Linear(4, 3))).explain(torch.ones(2, 4).double(), 0)
