"""What the methods that are walked over the tape leave behind: nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.affine.errors import InputError, TrainingModeError
from biasmatters.baselines.deconvnet import Deconvnet
from biasmatters.baselines.deeplift_revealcancel import DeepLiftRevealCancel
from biasmatters.baselines.fullgrad import FullGrad
from biasmatters.baselines.guided_backprop import GuidedBackprop
from biasmatters.baselines.normgrad import NormGrad
from biasmatters.baselines.pattern_attribution import PatternAttribution
from biasmatters.baselines.pattern_net import PatternNet
from biasmatters.baselines.patterns import fit_patterns
from biasmatters.baselines.rectgrad import RectGrad
from biasmatters.types import Attributor
from tests.affine.nets import Residual, seeded

METHODS: dict[str, Callable[[nn.Module], Attributor]] = {
    "guided": GuidedBackprop,
    "deconvnet": Deconvnet,
    "rectgrad": lambda net: RectGrad(net, 50.0),
    "pattern net": lambda net: PatternNet(net, _fitted(net)),
    "pattern attribution": lambda net: PatternAttribution(net, _fitted(net)),
    "fullgrad 2019": lambda net: FullGrad(net, 2019),
    "fullgrad 2023": FullGrad,
    "normgrad": NormGrad,
    "revealcancel": DeepLiftRevealCancel,
}


def _fitted(net: nn.Module) -> object:
    data = torch.randn(12, 2, 8, 8, generator=torch.Generator().manual_seed(7))
    training, parameter = net.training, next(net.parameters())
    found = fit_patterns(net.eval(), data.to(parameter).split(6))
    net.train(training)
    return found


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(3)
    net = seeded(Residual())
    net.first.weight.requires_grad_(False)
    net.head.bias.grad = torch.ones(3).double()
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def _state(net: nn.Module) -> list[object]:
    hooks = [
        len(getattr(m, name)) for m in net.modules() for name in vars(m) if name.endswith("_hooks")
    ]
    flags = [
        (p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in net.parameters()
    ]
    values = [value.tolist() for value in net.state_dict().values()]
    versions = [p._version for p in (*net.parameters(), *net.buffers())]
    others = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    return [hooks, flags, values, versions, torch.random.get_rng_state().tolist(), *others]


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_left_behind(name: str, net: nn.Module, x: Tensor) -> None:
    method = METHODS[name](net)
    assert isinstance(method, Attributor)
    before, values = _state(net), x.clone()
    found = method.explain(x)
    assert _state(net) == before
    assert torch.equal(x, values)
    assert not x.requires_grad
    assert found.map.shape == x.shape
    assert found.map.dtype == x.dtype
    assert not found.map.requires_grad
    assert bool(found.map.isfinite().all())
    assert float(found.map.abs().sum()) > 0
    assert found.target.tolist() == net(x).argmax(1).tolist()


@pytest.mark.parametrize("name", METHODS)
def test_bad_questions_are_refused_and_leave_nothing(name: str, net: nn.Module, x: Tensor) -> None:
    method = METHODS[name](net)
    before = _state(net)
    with pytest.raises(InputError, match="out of range"):
        method.explain(x, 7)
    with pytest.raises(InputError, match="not finite at sample index 1"):
        method.explain(x.index_fill(0, torch.tensor([1]), torch.nan), 0)
    assert _state(net) == before
    with pytest.raises(TrainingModeError):
        METHODS[name](net.train()).explain(x, 0)


@pytest.mark.parametrize("name", METHODS)
def test_under_inference_mode_and_no_grad(name: str, net: nn.Module, x: Tensor) -> None:
    method = METHODS[name](net)
    wanted = method.explain(x, 1).map
    with torch.inference_mode():
        torch.testing.assert_close(method.explain(x.clone(), 1).map, wanted)
    with torch.no_grad():
        torch.testing.assert_close(method.explain(x, 1).map, wanted)


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_and_one_output(name: str, net: nn.Module, x: Tensor) -> None:
    net.float()
    assert METHODS[name](net).explain(x.float(), 0).map.dtype == torch.float32

    class Margin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return F.leaky_relu(self.net(x)[:, :1], 0.5)

    found = METHODS[name](Margin().eval()).explain(x.float())
    assert found.target is None
    assert bool(found.map.isfinite().all())


@pytest.mark.parametrize("name", METHODS)
def test_an_empty_batch(name: str, net: nn.Module, x: Tensor) -> None:
    assert METHODS[name](net).explain(x[:0]).map.shape == (0, 2, 8, 8)
