"""What a review of the fast forms found."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.precision import full_precision
from biasmatters.rules import (
    RULES,
    Proportional,
    SoftmaxAbs,
    SoftmaxNegAbs,
    SoftmaxSigned,
    make_rule,
)
from biasmatters.rules.direct import split_directly
from biasmatters.rules.levels import levels
from tests.rules.liveness import live_of

MAKE = torch.Generator().manual_seed(0)


def _net(channels: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * channels * 144, 5),
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_dense_layer_over_one_flat_sample(rule: str) -> None:
    first, second = torch.randn(8, 6, generator=MAKE), torch.randn(3, 8, generator=MAKE)

    def net(z: Tensor) -> Tensor:
        hidden = F.linear(z.flatten(), first, first[:, 0]).relu()
        return F.linear(hidden, second, second[:, 0])[None]

    found = bm.BiasBackprop(net, rule).explain(torch.ones(1, 6), 1, diagnostics=True)
    assert found.complete


@pytest.mark.parametrize("kind", [SoftmaxAbs, SoftmaxNegAbs])
def test_a_loose_tolerance(kind: type[SoftmaxAbs]) -> None:
    found = bm.BiasBackprop(_net(), kind(1e3, 0.1)).explain(torch.ones(2, 3, 12, 12), 1)
    assert found.complete


@pytest.mark.parametrize("rule", RULES)
def test_autocast_leaves_the_sums_alone(rule: str) -> None:
    weight = torch.randn(8, 16, 3, 3, generator=MAKE)
    mixing = ConvMap(weight, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    values, tau = torch.rand(2, 16, 9, 9), torch.randn(2, 8, 9, 9)
    wanted = make_rule(rule).split(mixing, values, tau, None)[0]
    with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
        found = make_rule(rule).split(mixing, values, tau, None)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [SoftmaxAbs, SoftmaxNegAbs, SoftmaxSigned])
def test_steep_exponents_in_half_precision(kind: type[SoftmaxSigned]) -> None:
    found = bm.BiasBackprop(_net().half(), kind(0.02)).explain(torch.ones(1, 3, 12, 12).half(), 1)
    assert isinstance(found.map, Tensor)
    assert bool(found.map.isfinite().all())


@pytest.mark.parametrize("kind", [SoftmaxAbs, SoftmaxSigned])
@pytest.mark.parametrize("size", [1.0, 1e-18, 1e-24])
def test_small_bias_of_steep_units(kind: type[SoftmaxSigned], size: float) -> None:
    mixing = DenseMap(torch.rand(6, 20, generator=MAKE) + 0.1)
    x, tau = torch.rand(3, 20, generator=MAKE) + 0.1, torch.randn(3, 6, generator=MAKE) * size
    rule = kind(float((mixing.weight.amax() * x.amax()) / 58))
    found = rule.split(mixing, x, tau, None)[0].double() / size
    wide = DenseMap(mixing.weight.double())
    wanted = split_directly(rule.alpha, wide, x.double(), tau.double() / size, None)
    assert float((found - wanted).norm()) <= 1e-5 * float(wanted.norm())


def test_weights_beyond_the_number_format_go_direct() -> None:
    mixing = ConvMap(torch.full((4, 2, 3, 3), 1e30), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    x = torch.rand(1, 2, 40, 40, generator=MAKE)
    x[:, 0] = 0
    found, _ = SoftmaxNegAbs(1e-9).split(mixing, x, torch.ones(1, 4, 38, 38), None)
    assert not bool(found.isnan().any())


def test_tiny_weights_of_the_fallback() -> None:
    tau = torch.randn(2, 3, 30, generator=MAKE)
    mixing = DenseMap(torch.full((30, 4), 1e-39))
    beta, lost = hand_to_support(mixing, torch.zeros(2, 3, 4), tau, 1)
    assert lost is not None
    torch.testing.assert_close(beta.sum() + lost.sum(), tau.sum())


def test_levels_see_the_smallest_above_zero_and_refuse_a_crowd() -> None:
    tau = torch.zeros(1, 1, 4)
    assert [v.tolist() for v in levels(torch.tensor([[[0.0, 0.5, 2, 2]]]), tau, 1)[0]] == [
        [2],
        [0.5],
    ]
    assert levels(torch.rand(1, 1, 400, generator=MAKE), torch.zeros(1, 1, 400), 1)[0] == []


@pytest.mark.parametrize("rule", ["softmax_neg_abs", "softmax_abs", "softmax_signed"])
def test_a_norm_over_everything_has_units_without_axes(rule: str) -> None:
    torch.manual_seed(0)
    lin = nn.Linear(4, 3).double()
    x = torch.randn(1, 4, dtype=torch.float64, generator=MAKE)
    found = bm.BiasBackprop(lambda x: lin(x).norm().reshape(1), rule).explain(x, lambda out: out)
    assert found.complete


def test_liveness_is_a_matter_of_the_sample_alone() -> None:
    """The other samples of the batch have bias 1e36 times as large."""
    mixing = DenseMap(torch.full((2, 3), 1e-15))
    x = torch.full((2, 3), 1e-15)
    tau = torch.tensor([[1e-30, 1e-30], [1e6, 1e6]])
    together = live_of(Proportional().split(mixing, x, tau, None)[1], tau)
    alone = live_of(Proportional().split(mixing, x[:1], tau[:1], None)[1], tau[:1])
    assert torch.equal(together[:1], alone)
    assert bool(alone.all())


def test_a_rate_that_leaves_the_format_waits() -> None:
    """|m| / T is beyond float32, |m x| / T is 3 and 6."""
    mixing = DenseMap(torch.tensor([[4.0, 8.0] + [1.0] * 14]))
    x = torch.full((1, 16), 7.5e-39) * torch.tensor([1.0] * 2 + [0.0] * 14)
    tau = torch.ones(1, 1)
    found, _ = SoftmaxNegAbs(1e-38, 0).split(mixing, x, tau, None)
    wanted = torch.tensor([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))])
    torch.testing.assert_close(found[0, :2], wanted, rtol=1e-3, atol=1e-3)
