"""Every method that is one pass backwards can set out from any layer, by its own rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zennit.layer import Sum

from biasmatters import baselines
from biasmatters.affine.errors import InputError
from biasmatters.attribution import Gradient
from biasmatters.baselines import LRP, MethodError
from biasmatters.baselines.lrp import VARIANTS
from biasmatters.types import INPUT, Attributor, Descends, Fittable, Signal
from tests.affine.nets import Residual, seeded
from tests.baselines.test_every_method import same, snapshot

TARGET = [0, 2, 1]
ONE = torch.eye(3, dtype=torch.float64)[TARGET]


def one(output: Tensor) -> Tensor:
    return ONE.to(output)


def value(output: Tensor) -> Tensor:
    return ONE.to(output) * output


Make = Callable[[nn.Module], Attributor]
# The method and the signal at the output that its own map sets out with.
METHODS: dict[str, tuple[Make, Signal]] = {
    "Gradient": (Gradient, one),
    "GuidedBackprop": (baselines.GuidedBackprop, one),
    "Deconvnet": (baselines.Deconvnet, one),
    "RectGrad": (lambda net: baselines.RectGrad(net, 60.0), one),
    "BetaSmooth": (baselines.BetaSmooth, one),
    "ExcitationBackprop": (baselines.ExcitationBackprop, one),
    "DeepTaylor": (lambda net: baselines.DeepTaylor(net, 0.0, 1.0), value),
    "PatternNet": (baselines.PatternNet, value),
    "PatternAttribution": (baselines.PatternAttribution, value),
    "DeepLiftRescale": (lambda net: baselines.DeepLiftRescale(net, 0.2), one),
    "DeepLiftRevealCancel": (lambda net: baselines.DeepLiftRevealCancel(net, 0.2), one),
    **{f"LRP {v}": (lambda net, v=v: LRP(net, v), value) for v in VARIANTS},  # type: ignore[misc]
}
DIFFERENCES = ("DeepLiftRescale", "DeepLiftRevealCancel")
BY_HOOKS = ("BetaSmooth", "ExcitationBackprop", "DeepTaylor", "DeepLiftRescale", "LRP ")

pytestmark = pytest.mark.filterwarnings(
    "ignore::biasmatters.baselines.conservation.ConservationWarning"
)


def cnn(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3),
        nn.ReLU(inplace), nn.Flatten(), nn.Linear(96, 8), nn.ReLU(inplace), nn.Linear(8, 3),
    )  # fmt: skip
    return seeded(net, 0.3)  # type: ignore[return-value]


def pictures() -> Tensor:
    return torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(1)).double()


def made(name: str, net: nn.Module) -> Descends:
    method = METHODS[name][0](net)
    if isinstance(method, Fittable):
        data = torch.rand(64, 2, 12, 12, generator=torch.Generator().manual_seed(2)).double()
        method.fit([data])
    assert isinstance(method, Descends)
    return method


class Block(nn.Module):
    """Convolution, batch-norm, ReLU, and the sum with what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.sum, self.end = Sum(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.conv(x)))
        return self.end(self.sum(torch.stack([h, x], -1)))


class ByModules(nn.Module):
    """A residual network of modules that run once, as those that work by hooks want it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.block, self.pool = Block(), nn.AvgPool2d(4)
        self.flat, self.head = nn.Flatten(), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.flat(self.pool(self.block(self.act(self.stem(x))))))
        return out


@pytest.mark.parametrize("name", METHODS)
def test_from_the_output_it_is_the_method_s_own_map(name: str) -> None:
    net, x = cnn(), pictures()
    method = made(name, net)
    assert isinstance(method, Attributor)
    wanted = method.explain(x, TARGET).map
    layers = ["7", "4", "3", "2", "1", "0", INPUT]
    found = method.descend(x, "8", METHODS[name][1], layers)
    assert list(found) == layers
    torch.testing.assert_close(found[INPUT], wanted)
    assert float(wanted.abs().max()) > 0
    h = x
    for i, layer in enumerate(net):
        h = layer(h)
        if str(i) in found:
            assert found[str(i)].shape == h.shape
            assert found[str(i)].dtype == h.dtype
            assert not found[str(i)].requires_grad


@pytest.mark.parametrize("name", [n for n in METHODS if n not in DIFFERENCES])
@pytest.mark.parametrize("middle", ["7", "6", "4", "3", "2", "1", "0"])
def test_a_way_down_is_its_parts_one_after_the_other(name: str, middle: str) -> None:
    net, x = cnn(), pictures()
    method = made(name, net)
    whole = method.descend(x, "8", METHODS[name][1], [middle, INPUT])
    rest = method.descend(x, middle, whole[middle], [INPUT, middle])
    torch.testing.assert_close(rest[INPUT], whole[INPUT])
    torch.testing.assert_close(rest[middle], whole[middle])


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences_keep_their_sum_at_every_layer(name: str) -> None:
    """What arrives is multipliers times differences: f(x) - f(x0) at each, without a max-pool."""
    net, x = cnn(), pictures()
    net[2] = nn.AvgPool2d(2)
    layers = ["8", "7", "6", "4", "3", "2", "1", "0", INPUT]
    found = made(name, net).descend(x, "8", one, layers)
    rise = ((net(x) - net(torch.full_like(x, 0.2))) * ONE).sum(1).detach()
    for at in found.values():
        torch.testing.assert_close(at.flatten(1).sum(1), rise)
    start = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(3)).double()
    found = made(name, net).descend(x, "4", start, layers[4:])
    rise = net[:5](x) - net[:5](torch.full_like(x, 0.2))
    for at in found.values():
        torch.testing.assert_close(at.flatten(1).sum(1), (start * rise).flatten(1).sum(1).detach())


def test_a_rescaled_difference_equals_its_definition() -> None:
    """Secants at the ReLUs, written out for a small dense network."""
    torch.manual_seed(1)
    net = seeded(
        nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    )
    x, v = torch.rand(3, 5).double(), torch.randn(3, 6).double()
    base = torch.full_like(x, 0.2)
    found = baselines.DeepLiftRescale(net, 0.2).descend(x, "3", v, ["3", "2", "1", "0", INPUT])
    part = [net[: i + 1](x) - net[: i + 1](base) for i in range(4)]
    m2 = v * part[3] / part[2]
    m1 = m2 @ net[2].weight
    m0 = m1 * part[1] / part[0]
    wanted = {"3": v * part[3], "2": m2 * part[2], "1": m1 * part[1], "0": m0 * part[0],
              INPUT: m0 @ net[0].weight * (x - base)}  # fmt: skip
    for name, at in wanted.items():
        torch.testing.assert_close(found[name], at.detach())


def test_relevance_equals_its_definition() -> None:
    """z+ by a matrix of shares, from units that the ReLU has switched off as well."""
    torch.manual_seed(1)
    net = seeded(
        nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    )
    x, v = torch.rand(1, 5).double(), torch.randn(1, 6).double()
    found = LRP(net, "zplus").descend(x, "3", v, ["1", INPUT])
    r = v
    for layer, name in ((2, "1"), (0, INPUT)):
        positive = (net[layer].weight * net[:layer](x)).clamp_min(0).detach()
        r = (r / (positive.sum(1) + 1e-6)) @ positive
        torch.testing.assert_close(found[name], r, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_residual_network(name: str) -> None:
    torch.manual_seed(4)
    net, x = seeded(ByModules(), 0.3), pictures()
    method = made(name, net)
    assert isinstance(method, Attributor)
    wanted = method.explain(x, TARGET).map
    start = METHODS[name][1]
    layers = ["block", "block.norm", "block.conv", "act", INPUT]
    found = method.descend(x, "head", start, layers)
    torch.testing.assert_close(found[INPUT], wanted)
    if name not in DIFFERENCES:
        rest = method.descend(x, "block", found["block"], ["act", INPUT])
        torch.testing.assert_close(rest[INPUT], wanted)
        torch.testing.assert_close(rest["act"], found["act"])


@pytest.mark.parametrize("name", [n for n in METHODS if not n.startswith(BY_HOOKS)])
def test_functional_activations_and_blocks(name: str) -> None:
    """What the walked methods meet besides: sums, activations in place, a concatenation."""
    torch.manual_seed(3)
    net, x = seeded(Residual()), pictures()
    method = made(name, net)
    assert isinstance(method, Attributor)
    wanted = method.explain(x, TARGET).map
    found = method.descend(x, "head", METHODS[name][1], ["act", "first", INPUT])
    torch.testing.assert_close(found[INPUT], wanted)
    if name not in DIFFERENCES:
        rest = method.descend(x, "act", found["act"], ["first", INPUT])
        torch.testing.assert_close(rest[INPUT], wanted)
        torch.testing.assert_close(rest["first"], found["first"])
    for start in ("shared",) if name == "Gradient" else ("shared", "drop"):
        with pytest.raises(InputError, match=f"'{start}'"):
            method.descend(x, start, torch.ones_like, [INPUT])


@pytest.mark.parametrize("name", METHODS)
def test_activations_in_place_change_nothing(name: str) -> None:
    x, layers = pictures(), ["6", "4", "3", "1", "0", INPUT]
    found, wanted = (
        made(name, cnn(inplace)).descend(x, "7", torch.ones_like, layers)
        for inplace in (True, False)
    )
    for layer in layers:
        torch.testing.assert_close(found[layer], wanted[layer])


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_is_on_its_own_and_nothing_is_left_behind(name: str) -> None:
    net, x = cnn(), pictures()
    method = made(name, net)
    signal = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(3)).double()
    before = snapshot(net)
    whole = method.descend(x, "4", signal, ["1", INPUT])
    assert same(before, snapshot(net))
    alone = method.descend(x[1:2], "4", signal[1:2], ["1", INPUT])
    for layer, at in whole.items():
        torch.testing.assert_close(alone[layer], at[1:2])
    with torch.inference_mode():
        inside = method.descend(x.clone(), "4", signal.clone(), ["1"])
    torch.testing.assert_close(inside["1"].clone(), whole["1"])


@pytest.mark.parametrize("name", METHODS)
def test_bad_questions_are_refused_and_leave_nothing(name: str) -> None:
    net, x = cnn(), pictures()
    method = made(name, net)
    before = snapshot(net)
    with pytest.raises(InputError, match=r"'nowhere'"):
        method.descend(x, "nowhere", torch.ones_like, [INPUT])
    with pytest.raises(InputError, match=r"'nowhere'"):
        method.descend(x, "4", torch.ones_like, ["nowhere"])
    with pytest.raises(InputError, match=r"'7'"):
        method.descend(x, "4", torch.ones_like, ["7"])
    with pytest.raises(InputError, match=r"\(3, 5\).*\(3, 6, 4, 4\)"):
        method.descend(x, "4", torch.ones(3, 5), [INPUT])
    with pytest.raises(InputError, match="not finite"):
        method.descend(x * torch.nan, "4", torch.ones_like, [INPUT])
    assert same(before, snapshot(net))


def test_methods_without_a_way_of_their_own_do_not_pretend() -> None:
    descending = {n for n in baselines.__all__ if hasattr(getattr(baselines, n), "descend")}
    assert descending == {name.split()[0] for name in METHODS} - {"Gradient"}


class Twice(nn.Module):
    """Runs one module twice, and one activation as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(self.act(self.first(x))))
        out: Tensor = self.last(F.relu(h))
        return out


def test_a_module_that_runs_twice_is_no_place() -> None:
    torch.manual_seed(0)
    net, x = seeded(Twice()), torch.rand(2, 4).double()
    for method in (Gradient(net), baselines.GuidedBackprop(net)):
        for name in ("act", "first"):
            with pytest.raises(InputError, match=f"'{name}' runs more than once"):
                method.descend(x, "last", torch.ones_like, [name])
    with pytest.raises(MethodError, match="relu in the model"):
        baselines.BetaSmooth(net).descend(x, "last", torch.ones_like, [INPUT])


@pytest.mark.parametrize("kind", [baselines.PatternNet, baselines.PatternAttribution])
def test_patterns_are_needed_first(kind: type[baselines.PatternNet]) -> None:
    with pytest.raises(MethodError, match="no patterns yet"):
        kind(cnn()).descend(pictures(), "4", torch.ones_like, [INPUT])
