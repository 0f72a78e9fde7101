"""Zennit's protocol with our method behind it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zennit.attribution import Attributor, Gradient
from zennit.composites import EpsilonPlus

import biasmatters as bm
from biasmatters.baselines.errors import MissingLibraryError
from biasmatters.zennit import BiasAttributor
from tests.affine.nets import Residual, seeded

CLASSES = [2, 0, 1, 2]
ONE_HOT = torch.eye(3).double()[CLASSES]


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("rule", bm.RULES)
def test_the_maps_are_ours(net: nn.Module, x: Tensor, rule: str) -> None:
    with BiasAttributor(net, rule=rule, temperature=0.5) as attributor:
        assert isinstance(attributor, Attributor)
        output, relevance = attributor(x, ONE_HOT)
    assert torch.equal(output, net(x).detach())
    assert torch.equal(relevance, bm.BiasBackprop(net, rule, 0.5).attribute(x, CLASSES))
    _, whole = BiasAttributor(net, rule=rule, temperature=0.5, part="both")(x, ONE_HOT)
    assert torch.equal(whole, bm.InputXGradientPlusBias(net, rule, 0.5).explain(x, CLASSES).map)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("rule", bm.RULES)
def test_it_is_linear_in_what_weighs_the_output(
    net: nn.Module, x: Tensor, rule: str, fold: bool
) -> None:
    torch.manual_seed(2)
    attributor = BiasAttributor(net, rule=rule, fold=fold)
    first, second = torch.randn(2, 4, 3).double()
    _, one = attributor(x, first)
    _, other = attributor(x, second)
    _, mixed = attributor(x, 2 * first - 30 * second)
    _, larger = attributor(x, 30 * first)
    torch.testing.assert_close(larger, 30 * one, rtol=1e-9, atol=1e-12)
    if rule != "softmax_signed":  # which asks for the sign of a unit's bias
        torch.testing.assert_close(mixed, 2 * one - 30 * other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (ONE_HOT, ONE_HOT),
        (ONE_HOT.float(), ONE_HOT),
        (2, 2 * torch.ones(4, 3)),
        (0.5, 0.5 * torch.ones(4, 3)),
        (torch.tensor([1.0, 0, -1]), torch.tensor([1.0, 0, -1]).expand(4, 3)),
        (lambda out: out * ONE_HOT, None),
        (lambda out: torch.eye(3)[out.argmax(1)], None),
        (lambda out: out.zero_().scatter_(1, torch.tensor([[1]] * 4), 1.0), torch.eye(3)[[1] * 4]),
        (lambda out: out.softmax(1) - out.sum(0, keepdim=True), None),
    ],
)
def test_what_weighs_the_output(net: nn.Module, x: Tensor, given: Any, weights: Any) -> None:
    out = net(x).detach()
    weights = given(out.clone()) if weights is None else weights
    parts = [bm.BiasBackprop(net).attribute(x, c) for c in range(3)]
    wanted = sum(w.double()[:, None, None, None] * p for w, p in zip(weights.T, parts, strict=True))
    for output, found in (
        BiasAttributor(net)(x, given),
        BiasAttributor(net, attr_output=given)(x),
    ):
        torch.testing.assert_close(found, wanted)
        assert torch.equal(output, out)


def test_the_output_weighs_itself_by_default(net: nn.Module, x: Tensor) -> None:
    """As in Zennit, whose gradient times input lacks what we attribute."""
    output, whole = BiasAttributor(net, part="both")(x)
    torch.testing.assert_close(whole.flatten(1).sum(1), output.square().sum(1))
    _, bias = BiasAttributor(net)(x)
    with Gradient(net) as gradient:
        _, slope = gradient(x.clone())
    torch.testing.assert_close(whole, slope * x + bias)


def test_outputs_of_other_shapes(x: Tensor) -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)))
    weight = torch.zeros(4, 2, 2, 2)
    weight[:, 1, 0, 1] = 1
    output, found = BiasAttributor(net)(x, weight)
    assert output.shape == weight.shape
    assert torch.equal(found, bm.BiasBackprop(net).attribute(x, lambda out: out[:, 1, 0, 1]))
    flat = nn.Sequential(net, nn.Flatten(), nn.Linear(8, 1).double(), nn.Flatten(0))
    _, single = BiasAttributor(flat)(x, 1)
    assert torch.equal(single, bm.BiasBackprop(flat).attribute(x))


def test_a_residual_network() -> None:
    torch.manual_seed(0)
    net, x = seeded(Residual()), torch.randn(2, 2, 6, 6).double()
    output, whole = BiasAttributor(net, rule="uniform", part="both")(x, torch.eye(3)[[0, 1]])
    torch.testing.assert_close(whole.flatten(1).sum(1), output.diagonal())


@pytest.mark.parametrize("given", [torch.ones(3, 3), torch.ones(4, 4), torch.ones(1, 4, 3)])
def test_weights_that_do_not_fit(net: nn.Module, x: Tensor, given: Tensor) -> None:
    with pytest.raises(bm.InputError, match="one-hot row"):
        BiasAttributor(net)(x, given)


def test_settings_are_refused_at_once(net: nn.Module) -> None:
    with pytest.raises(bm.InputError, match="EpsilonPlus"):
        BiasAttributor(net, EpsilonPlus())  # type: ignore[arg-type]
    with pytest.raises(bm.InputError, match="choose bias, or both"):
        BiasAttributor(net, part="whole")  # type: ignore[arg-type]
    with pytest.raises(bm.BiasmattersError, match="Unknown rule"):
        BiasAttributor(net, rule="softmin")


def test_samples_must_be_the_first_axis(net: nn.Module, x: Tensor) -> None:
    with pytest.raises(bm.InputError, match="first axis"):
        BiasAttributor(nn.Sequential(net, nn.Flatten(0)))(x, 1)


def test_everything_is_left_as_it_was(net: nn.Module, x: Tensor) -> None:
    before, wanting = torch.get_rng_state(), x.clone().requires_grad_()
    for part in ("bias", "both"):
        output, plain = BiasAttributor(net, part=part)(x, ONE_HOT)  # type: ignore[arg-type]
        _, found = BiasAttributor(net, part=part)(wanting, ONE_HOT)  # type: ignore[arg-type]
        assert torch.equal(found, plain)
        assert not any(t.requires_grad for t in (x, output, plain, found))
        with torch.inference_mode():
            _, inside = BiasAttributor(net, part=part)(x.clone(), ONE_HOT)  # type: ignore[arg-type]
        assert torch.equal(inside, plain)
    assert wanting.grad is None
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    norm = nn.Sequential(net, nn.BatchNorm1d(3).double()).train()
    with pytest.raises(bm.TrainingModeError, match="eval"):
        BiasAttributor(norm)(x, ONE_HOT)
    assert norm.training


def test_without_zennit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "zennit"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "biasmatters.zennit")
    with pytest.raises(MissingLibraryError, match=r"pip install 'biasmatters\[zennit\]'"):
        import_module("biasmatters.zennit")
