"""BBp's own promises: completeness, fallbacks, chunking, diagnostics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import biasmatters as bm
from biasmatters.rules import SoftmaxNegAbs, Uniform
from tests.affine.nets import Residual, seeded


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(Residual())


def test_internal_batch_size_changes_nothing(net: nn.Module) -> None:
    x = torch.randn(5, 2, 6, 6, dtype=torch.float64)
    bbp = bm.BiasBackprop(net, "softmax_abs")
    whole, delta = bbp.attribute(x, [0, 1, 2, 0, 1], return_convergence_delta=True)
    parts = bbp.attribute(x, [0, 1, 2, 0, 1], internal_batch_size=2)
    torch.testing.assert_close(whole, parts)
    assert delta.shape == (5,)
    assert float(delta.abs().max()) < 1e-12


def test_an_empty_batch(net: nn.Module) -> None:
    x = torch.randn(0, 2, 6, 6, dtype=torch.float64)
    assert bm.BiasBackprop(net, "uniform").attribute(x, 0).shape == x.shape


def test_dead_inputs_and_padding_get_nothing() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(),
                               nn.Linear(48, 2)))  # fmt: skip
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    x[0, 0, 0, :2] = 0
    for rule in bm.RULES:
        found = bm.BiasBackprop(net, rule).explain(x, 0)
        assert found.map[0, 0, 0, :2].tolist() == [0, 0]
        assert found.complete


@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
def test_a_live_unit_without_inputs_takes_the_named_fallback(fallback: str) -> None:
    """x = 0: nothing contributes, and all of b = 3 meets a unit with weights (1, -2, 0)."""
    net = nn.Linear(3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -2, 0]]))
        net.bias.fill_(3)
    found = bm.BiasBackprop(net, "softmax_abs", fallback=fallback).explain(torch.zeros(1, 3))
    wanted = {"uniform": [1.5, 1.5, 0], "weight": [1, 2, 0], "drop": [0, 0, 0]}[fallback]
    assert found.map.tolist() == [wanted]
    assert found.certificate is not None
    assert found.certificate.fallback_mass.tolist() == [3]
    assert found.certificate.fallback_share.tolist() == [1]
    assert found.complete


def test_a_constant_token_has_no_input_of_its_own() -> None:
    """A learned token beside the input: its bias is spread evenly, and reported."""
    token = torch.tensor([[5.0]])

    def net(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, token.expand(x.shape[0], 1)], 1).sum(1)

    found = bm.BiasBackprop(net, "uniform").explain(torch.tensor([[1.0, 2], [3, 4]]))
    assert found.map.tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert found.certificate is not None
    assert found.certificate.fallback_mass.tolist() == [5, 5]


def test_layers_and_diagnostics(net: nn.Module) -> None:
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    found = bm.BiasBackprop(net, "uniform").explain(x, 0, layers=True, diagnostics=True)
    assert found.layers["first"].shape == (2, 4, 6, 6)
    assert found.layers["head"].sum().item() == pytest.approx(2 * net.head.bias[0].item())


def test_row_entropy_of_an_even_split_is_the_log_of_its_inputs() -> None:
    bbp = bm.BiasBackprop(nn.Linear(5, 2), "uniform")
    found = bbp.explain(torch.ones(3, 5), 0, diagnostics=True)
    assert found.diagnostics == {"row_entropy/linear": pytest.approx(math.log(5), rel=1e-6)}


def test_extreme_temperatures_tend_to_their_limits(net: nn.Module) -> None:
    x = torch.rand(2, 2, 6, 6, dtype=torch.float64)
    uniform = bm.BiasBackprop(net, "uniform").attribute(x, 0)
    for rule in ("softmax_neg_abs", "softmax_abs", "softmax_signed"):
        hot = bm.BiasBackprop(net, rule, 1e6).attribute(x, 0)
        torch.testing.assert_close(hot, uniform, rtol=0, atol=1e-4)
        cold = bm.BiasBackprop(net, rule, 1e-6).explain(x, 0)
        assert bool(torch.isfinite(cold.map).all())
        assert cold.complete


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_means_nothing(temperature: float) -> None:
    with pytest.raises(bm.BiasmattersError, match="positive"):
        SoftmaxNegAbs(temperature)


def test_unknown_names(net: nn.Module) -> None:
    with pytest.raises(bm.BiasmattersError, match="softmax_neg_abs, softmax_abs"):
        bm.BiasBackprop(net, "softmaxx")
    with pytest.raises(bm.InputError, match="uniform, weight or drop"):
        bm.BiasBackprop(net, fallback="nowhere")


def test_a_rule_of_ones_own(net: nn.Module) -> None:
    class Mine(Uniform):
        @property
        def name(self) -> str:
            return "mine"

    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    mine = bm.BiasBackprop(net, Mine()).attribute(x, 0)
    torch.testing.assert_close(mine, bm.BiasBackprop(net, "uniform").attribute(x, 0))


def test_the_whole_output(net: nn.Module) -> None:
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    found = bm.InputXGradientPlusBias(net, "proportional").explain(x, 1)
    torch.testing.assert_close(found.map.sum((1, 2, 3)), net(x)[:, 1].detach())
    parts = bm.InputXGradient(net).explain(x, 1).map + bm.BiasBackprop(
        net, "proportional"
    ).attribute(x, 1)
    torch.testing.assert_close(found.map, parts)
    assert found.complete
    assert bm.Gradient(net).explain(x, 1).complete is None
