"""Guided back-propagation and the deconvnet, against ReLUs with a backward of their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Deconvolution
from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from torch import Tensor, nn
from zennit.attribution import Gradient as ZennitGradient
from zennit.composites import DeconvNet as ZennitDeconvNet
from zennit.composites import GuidedBackprop as ZennitGuidedBackprop

from biasmatters.baselines.deconvnet import Deconvnet
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.guided_backprop import GuidedBackprop
from tests.affine.nets import seeded

pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")

Act = Callable[[Tensor], Tensor]


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, top: float) -> Tensor:
        ctx.save_for_backward((z > 0) & (z < top))
        return z.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * (grad > 0) * ctx.saved_tensors[0], None


class _Deconv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, top: float) -> Tensor:
        return z.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * (grad > 0), None


class Net(nn.Module):
    """A residual sum, a convolution and an activation that are used twice, a pool."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 9, 3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        g = self.act(self.norm(self.stem(x)))
        h = self.act(self.again(g))
        h = self.act(self.again(h) + g)
        return self.head(F.max_pool2d(h, 2).flatten(1))


def _net(act: Act) -> Net:
    torch.manual_seed(0)
    net = Net(F.relu)
    seeded(net)
    net.act = act
    return net


@pytest.fixture
def x() -> Tensor:
    return 2 * torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def _gradient(net: nn.Module, x: Tensor, target: int) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, target].sum(), leaf)[0]


def _in_place(act: Callable[..., Tensor]) -> Act:
    return lambda z: act(z, inplace=True)


ACTS: dict[str, tuple[Act, float]] = {
    "F.relu": (F.relu, torch.inf),
    "torch.relu": (torch.relu, torch.inf),
    "in place": (_in_place(F.relu), torch.inf),
    "reused module": (nn.ReLU(), torch.inf),
    "clamp": (lambda z: z.clamp(min=0), torch.inf),
    "F.relu6": (F.relu6, 6.0),
    "nn.ReLU6": (nn.ReLU6(inplace=True), 6.0),
}


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(("method", "function"), [(GuidedBackprop, _Guided), (Deconvnet, _Deconv)])
def test_every_way_to_write_a_relu(
    name: str, method: type, function: type[torch.autograd.Function], x: Tensor
) -> None:
    act, top = ACTS[name]
    net = _net(act)
    wanted = _gradient(_net(lambda z: function.apply(z, top)), x, 1)
    found = method(net).explain(x, 1)
    torch.testing.assert_close(found.map, wanted)
    assert found.target.tolist() == [1, 1, 1]
    assert found.complete is None
    assert not torch.allclose(found.map, _gradient(net, x, 1))


@pytest.mark.parametrize("act", [F.relu, nn.ReLU6()])
def test_captum_gives_the_plain_gradient_without_a_word(act: Act, x: Tensor) -> None:
    """Item 1 of the failure zoo."""
    net = _net(act)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks")
        theirs = CaptumGuidedBackprop(net).attribute(x.clone().requires_grad_(), target=1)
    torch.testing.assert_close(theirs.detach(), _gradient(net, x, 1))
    assert not torch.allclose(GuidedBackprop(net).explain(x, 1).map, theirs)


def _plain() -> nn.Module:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    return seeded(net)


@pytest.mark.parametrize(
    ("ours", "captum", "zennit"),
    [
        (GuidedBackprop, CaptumGuidedBackprop, ZennitGuidedBackprop),
        (Deconvnet, Deconvolution, ZennitDeconvNet),
    ],
)
def test_captum_and_zennit_agree_on_modules(
    ours: type, captum: type, zennit: type, x: Tensor
) -> None:
    net = _plain()
    found = ours(net).explain(x, 2).map
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum(net).attribute(x.clone().requires_grad_(), target=2)
    torch.testing.assert_close(found, theirs.detach(), rtol=1e-5, atol=1e-5)
    with zennit().context(net) as hooked, ZennitGradient(hooked) as attributor:
        _, theirs = attributor(x, torch.eye(3).double()[[2, 2, 2]])
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", [nn.LeakyReLU(0.2), nn.PReLU(init=-0.5)])
def test_a_leaky_relu_passes_the_positive_signal_times_its_positive_slope(act: nn.Module) -> None:
    net = seeded(nn.Sequential(nn.Linear(4, 6), nn.Identity(), nn.Linear(6, 2)))
    net[1] = act.double()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(3)).double()
    z = net[0](x)
    slope = torch.where(z > 0, 1.0, act(-torch.ones(1, 6).double())[0] * -1).clamp_min(0)
    signal = net[2].weight[1].clamp_min(0)
    wanted = (signal * slope) @ net[0].weight
    torch.testing.assert_close(GuidedBackprop(net).explain(x, 1).map, wanted.detach())
    wanted = signal.expand(5, 6) @ net[0].weight
    torch.testing.assert_close(Deconvnet(net).explain(x, 1).map, wanted.detach())


def test_predicted_class_and_callable_targets(x: Tensor) -> None:
    net = _net(F.relu)
    classes = net(x).argmax(1)
    found = GuidedBackprop(net).explain(x)
    assert found.target.tolist() == classes.tolist()
    torch.testing.assert_close(found.map, GuidedBackprop(net).explain(x, classes).map)
    chosen = GuidedBackprop(net).explain(x, lambda out: out[:, 2])
    assert chosen.target is None
    torch.testing.assert_close(chosen.map, GuidedBackprop(net).explain(x, 2).map)


@pytest.mark.parametrize("method", [GuidedBackprop, Deconvnet])
def test_a_model_without_a_relu_is_refused(method: type) -> None:
    net = seeded(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3), nn.Hardtanh()))
    with pytest.raises(MethodError, match=r"tanh in '1', hardtanh in '3'.*use Gradient"):
        method(net).explain(torch.ones(1, 4).double(), 0)
    deep = seeded(nn.Sequential(nn.Linear(4, 3), *(nn.Tanh() for _ in range(7))))
    with pytest.raises(MethodError, match="tanh in '5' and 2 more"):
        method(deep).explain(torch.ones(1, 4).double(), 0)
    with pytest.raises(MethodError, match="its activations are: none"):
        method(net[:1]).explain(torch.ones(1, 4).double(), 0)
