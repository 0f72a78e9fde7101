"""What `explain(profile=True)` says about each layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import biasmatters as bm
from biasmatters.rules import SoftmaxNegAbs, plan


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 2), nn.Flatten(), nn.Linear(45, 3)
    ).double()


def test_every_mixing_layer_has_a_row(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "DIRECT", 1e9)
    monkeypatch.setattr(plan, "PICKED", 1e9)
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64) + 0.1
    found = bm.BiasBackprop(net, SoftmaxNegAbs(1.0)).explain(x, 0, profile=True)
    plain = bm.BiasBackprop(net, SoftmaxNegAbs(1.0)).explain(x, 0)
    assert isinstance(found.map, torch.Tensor)
    assert isinstance(plain.map, torch.Tensor)
    assert torch.equal(found.map, plain.map)
    assert plain.profile == ()
    assert [c.name for c in found.profile] == ["4", "2", "0"]
    assert [c.kind for c in found.profile] == ["DenseMap", "ConvMap", "ConvMap"]
    first = found.profile[-1]
    assert first.form == "expansion"
    assert first.rank > 0
    assert 0 < first.bound < 1e-11
    # Each unit of the first layer that hands out bias has 27 inputs.
    assert first.connections["expansion"] % 27 == 0
    assert 0 < first.connections["expansion"] <= 2 * 4 * 16 * 27
    assert all(c.seconds > 0 for c in found.profile)


def test_other_rules_go_their_own_way(net: nn.Module) -> None:
    x = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    found = bm.BiasBackprop(net, "uniform").explain(x, 0, profile=True)
    assert {c.form for c in found.profile} == {"own"}
    assert found.profile[0].reach is None


def test_diagnostics_would_be_timed_too(net: nn.Module) -> None:
    x = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    with pytest.raises(bm.InputError, match="in two calls"):
        bm.BiasBackprop(net).explain(x, 0, profile=True, diagnostics=True)
