"""Excitation back-propagation, beta-smoothing, and what they all leave behind: nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zennit.attribution import Gradient as ZennitGradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import BetaSmooth as ZennitBetaSmooth
from zennit.composites import ExcitationBackprop as ZennitExcitation

import biasmatters as bm
from biasmatters.baselines.beta_smooth import BetaSmooth
from biasmatters.baselines.deep_taylor import DeepTaylor
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.excitation_backprop import ExcitationBackprop
from biasmatters.baselines.lrp import LRP
from tests.affine.nets import seeded


def net_and_x(inplace: bool = False) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace), nn.Conv2d(6, 6, 3),
        nn.ReLU(inplace), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip
    return seeded(net), torch.rand(3, 1, 8, 8, dtype=torch.float64)


def zennit(net: nn.Module, x: Tensor, composite: Any) -> Tensor:
    with ZennitGradient(model=net, composite=composite) as attributor:
        one = torch.eye(3, dtype=x.dtype)[[0]].expand(len(x), 3)
        return attributor(x.clone(), lambda out: one.to(out))[1].detach()


@pytest.mark.parametrize("inplace", [False, True])
def test_excitation_backprop(inplace: bool) -> None:
    net, x = net_and_x(inplace)
    answer = ExcitationBackprop(net).explain(x, 0)
    composite = ZennitExcitation(zero_params=["bias"], canonizers=[SequentialMergeBatchNorm()])
    torch.testing.assert_close(answer.map, zennit(net, x, composite), rtol=1e-5, atol=1e-6)
    assert answer.complete
    sums = answer.map.flatten(1).sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-3, atol=1e-3)
    assert float(answer.map.min()) >= 0


def test_excitation_backprop_between_two_classes() -> None:
    net, x = net_and_x()
    found = ExcitationBackprop(net).explain(x, lambda out: out[:, 0] - out[:, 1])
    one, two = (ExcitationBackprop(net).explain(x, k).map for k in (0, 1))
    torch.testing.assert_close(found.map, one - two)
    assert found.complete


def test_excitation_backprop_knows_relus_only() -> None:
    """Zennit leaves any other activation to its gradient, which is no probability."""
    net = seeded(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    with pytest.raises(MethodError, match=r"Excitation back-propagation .* tanh in 1"):
        ExcitationBackprop(net).explain(torch.rand(2, 3, dtype=torch.float64))


def test_beta_smooth_is_zennits_and_the_softplus_derivative() -> None:
    net, x = net_and_x()
    answer = BetaSmooth(net, 3.0).explain(x, 0)
    torch.testing.assert_close(answer.map, zennit(net, x, ZennitBetaSmooth(beta_smooth=3.0)))
    assert answer.complete is None
    sharp = BetaSmooth(net, 1e9).explain(x, 0).map
    torch.testing.assert_close(sharp, bm.Gradient(net).explain(x, 0).map)


def test_beta_smooth_with_activations_in_place() -> None:
    """Zennit's hook then remembers the ReLU's output for its input, without a word."""
    (net, x), (plain, _) = net_and_x(inplace=True), net_and_x()
    plain.load_state_dict(net.state_dict())
    expected = BetaSmooth(plain).explain(x, 0).map
    torch.testing.assert_close(BetaSmooth(net).explain(x, 0).map, expected)
    assert not torch.allclose(zennit(net, x, ZennitBetaSmooth()), expected)
    assert net[2].inplace


class Acting(nn.Module):
    """Two activations by one module, or by a function."""

    def __init__(self, reused: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.relu, self.reused = nn.ReLU(), reused

    def forward(self, x: Tensor) -> Tensor:
        act = self.relu if self.reused else F.relu
        return self.c(act(self.b(act(self.a(x)))))


def test_beta_smooth_refuses_what_its_hooks_do_not_reach() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64)
    with pytest.raises(MethodError, match="relu in the model"):
        BetaSmooth(seeded(Acting(reused=False))).explain(x, 0)
    with pytest.raises(MethodError, match=r"relu in relu \(runs 2 times\)"):
        BetaSmooth(seeded(Acting(reused=True))).explain(x, 0)
    with pytest.raises(MethodError, match="above 0"):
        BetaSmooth(nn.Linear(2, 2), 0)


class Failing(Canonizer):
    """Merges the first batch-norm, then fails."""

    def apply(self, root_module: nn.Module) -> list[Any]:
        SequentialMergeBatchNorm().apply(root_module)
        raise RuntimeError("half way")

    def register(self) -> None: ...

    def remove(self) -> None: ...


def state(net: nn.Module) -> list[Any]:
    """All that a method could leave changed."""
    modules = list(net.named_modules())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for _, m in modules]
    parameters = [(n, id(p), p.data_ptr(), p.requires_grad, p.grad) for n, p in
                  net.named_parameters()]  # fmt: skip
    buffers = [(n, id(b), b.data_ptr()) for n, b in net.named_buffers()]
    attributes = [sorted(vars(m)) for _, m in modules]
    settings = [(getattr(m, "eps", None), getattr(m, "inplace", None)) for _, m in modules]
    return [[n for n, _ in modules], hooks, parameters, buffers, attributes, settings, net.training]


METHODS = {
    "zero": lambda net, c: LRP(net, "zero", canonizers=c),
    "zplus": lambda net, c: LRP(net, "zplus", canonizers=c),
    "deep_taylor": lambda net, c: DeepTaylor(net, 0, 1, canonizers=c),
    "excitation": lambda net, c: ExcitationBackprop(net, canonizers=c),
    "beta_smooth": lambda net, c: BetaSmooth(net),
}


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind(method: str) -> None:
    net, x = net_and_x(inplace=True)
    net[7].weight.requires_grad_(False)
    net[3].weight.grad = torch.ones_like(net[3].weight)
    before, weights = state(net), {k: v.clone() for k, v in net.state_dict().items()}
    image, random = x.clone(), torch.get_rng_state()
    METHODS[method](net, None).explain(x, 0)
    if method != "beta_smooth":
        with pytest.raises(MethodError, match=r"Failing does not fit.*half way"):
            METHODS[method](net, [Failing()]).explain(x, 0)
    assert [str(a) for a in state(net)] == [str(b) for b in before]
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)
    torch.testing.assert_close(x, image, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert not x.requires_grad


def test_an_error_while_relevance_is_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = net_and_x(inplace=True)
    before, weights = state(net), {k: v.clone() for k, v in net.state_dict().items()}

    def failing(z: Tensor) -> Tensor:
        raise FloatingPointError("in the middle")

    monkeypatch.setattr("biasmatters.baselines.lrp.never_zero", failing)
    with pytest.raises(FloatingPointError, match="in the middle"):
        LRP(net, "zero").explain(x, 0)
    assert [str(a) for a in state(net)] == [str(b) for b in before]
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)


def test_inference_mode_and_no_grad() -> None:
    net, x = net_and_x()
    expected = LRP(net, "zero").explain(x, 0).map
    with torch.inference_mode():
        torch.testing.assert_close(LRP(net, "zero").explain(x.clone(), 0).map, expected)
    with torch.no_grad():
        torch.testing.assert_close(LRP(net, "zero").explain(x, 0).map, expected)
