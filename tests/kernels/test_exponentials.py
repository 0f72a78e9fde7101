"""The kernel of depthwise softmax rules, against the rules written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("numba")

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.mixing import Lost
from biasmatters.kernels import without_kernels
from biasmatters.rules import SoftmaxAbs, SoftmaxNegAbs
from biasmatters.rules.softmax import live_units

SHAPES = [  # kernel, stride, dilation, padding before and after
    (3, 1, 1, (1, 1)), (3, 2, 1, (0, 0)), (5, 1, 1, (2, 2)), (5, 2, 1, (1, 2)),
    (1, 1, 1, (0, 0)), (4, 3, 2, (3, 0)), (3, 1, 2, (2, 2)),
]  # fmt: skip
RULES = [SoftmaxNegAbs, SoftmaxAbs]


def layer(
    kernel: int, stride: int, dilation: int, pads: tuple[int, int], seed: int
) -> tuple[ConvMap, Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 1, kernel, kernel, generator=make)
    weight[torch.rand(weight.shape, generator=make) < 0.1] = 0
    x = torch.randn(2, 6, 17, 14, generator=make)
    x[torch.rand(x.shape, generator=make) < 0.4] = 0
    x[:, 0, :9] = 0
    conv = ConvMap(weight, (stride,) * 2, (pads,) * 2, (dilation,) * 2, 6)
    tau = torch.randn(conv.power(1, x).forward(x).shape, generator=make)
    tau[torch.rand(tau.shape, generator=make) < 0.3] = 0
    return conv, x, tau


def in_double(conv: ConvMap) -> ConvMap:
    return ConvMap(conv.weight.double(), conv.stride, conv.padding, conv.dilation, conv.groups)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.02, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("folded", [False, True])
def test_shares_are_the_rules(
    rule: type[SoftmaxNegAbs | SoftmaxAbs],
    shape: tuple[int, int, int, tuple[int, int]],
    temperature: float,
    folded: bool,
) -> None:
    conv, x, tau = layer(*shape, seed=int(temperature * 100))
    slopes = torch.randn(1, 6, 1, 1).expand(tau.shape) if folded else None
    beta, said = rule(temperature).split(conv, x, tau, slopes)
    assert isinstance(said, Lost)
    with without_kernels():
        wide = None if slopes is None else slopes.double()
        written_out = rule(temperature, 0)
        wanted, live = written_out.split(in_double(conv), x.double(), tau.double(), wide)
    assert isinstance(live, Tensor)
    assert float((beta - wanted).norm() / wanted.norm()) < 1e-5
    lost = torch.zeros_like(tau) if said.tau is None else said.tau
    torch.testing.assert_close(lost.double(), tau.double() * (1 - live))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("temperature", [1e-38, 1e-6, 1e-3, 1e6, 1e30])
def test_no_temperature_leaves_the_number_format(
    rule: type[SoftmaxNegAbs | SoftmaxAbs], temperature: float
) -> None:
    conv, x, tau = layer(3, 1, 1, (1, 1), seed=3)
    beta, _ = rule(temperature).split(conv, x, tau, None)
    assert bool(beta.isfinite().all())
    handed = tau * (live_units(conv, x, None)[1] > 0)
    torch.testing.assert_close(beta.sum((2, 3)), handed.sum((2, 3)), rtol=1e-4, atol=1e-4)


def test_what_carries_nothing_gets_nothing() -> None:
    conv, x, tau = layer(3, 1, 1, (1, 1), seed=1)
    beta, _ = SoftmaxNegAbs(1.0).split(conv, x, tau, None)
    assert not bool(beta[x == 0].any())


def test_a_plane_of_several_bands() -> None:
    make = torch.Generator().manual_seed(0)
    conv = ConvMap(torch.randn(2, 1, 5, 5, generator=make), (1, 1), ((2, 2),) * 2, (1, 1), 2)
    x, tau = (torch.randn(1, 2, 90, 70, generator=make) for _ in range(2))
    beta, _ = SoftmaxAbs(2.0).split(conv, x, tau, None)
    with without_kernels():
        wanted, _ = SoftmaxAbs(2.0, 0).split(in_double(conv), x.double(), tau.double(), None)
    assert float((beta - wanted).norm() / wanted.norm()) < 1e-5
