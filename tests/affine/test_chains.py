"""What follows a mixing operation one to one is walked with it: the same as step by step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.recording import Options, Recording, Step, record
from biasmatters.attribution import landings
from biasmatters.kernels import without_kernels
from biasmatters.rules import RULES
from biasmatters.types import Attribution, Target
from tests.affine.nets import Residual, seeded

pytest.importorskip("numba")

Fallback = Literal["uniform", "weight", "drop"]
FALLBACKS: tuple[Fallback, ...] = ("uniform", "weight", "drop")
CHANNELS, SIDE, CLASSES = 4, 7, 3


class Sum(nn.Module):
    """``act(g + h)`` or ``act(g - h)`` of two ways through it."""

    def __init__(self, one: nn.Module, other: nn.Module, act: nn.Module, *, less: bool) -> None:
        super().__init__()
        self.one, self.other, self.act, self.less = one, other, act, less

    def forward(self, x: Tensor) -> Tensor:
        g, h = self.one(x), self.other(x)
        return self.act(g - h if self.less else g + h)


class Draw:
    """A network drawn stage by stage.

    Attributes:
        long: Whether slopes may go on where a chain ends: behind a bend, or by a leaky ReLU.
    """

    def __init__(self, seed: int, *, long: bool) -> None:
        self.random, self.long = random.Random(seed), long

    def network(self) -> nn.Sequential:
        stages = [self.stage() for _ in range(self.random.randint(2, 4))]
        body = nn.Sequential(self.conv(), *stages)
        width = body(torch.zeros(1, CHANNELS, SIDE, SIDE)).numel()
        head = [nn.Flatten(), nn.Linear(width, 6), nn.BatchNorm1d(6), self.bend(), nn.Linear(6, 3)]
        if self.random.random() < 0.5:
            del head[2]
        return nn.Sequential(*body, *head).eval()

    def stage(self) -> nn.Module:
        match self.random.choice(["conv", "conv", "depthwise", "sum", "sum", "pool", "pad"]):
            case "conv":
                return self.conv()
            case "depthwise":
                return self.conv(groups=CHANNELS)
            case "sum":
                one = self.random.choice([nn.Identity(), self.conv(), self.bare()])
                less = self.random.random() < 0.5
                return Sum(one, self.bare(), self.bend(), less=less)
            case "pool":
                return self.random.choice([nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 1)])
        return nn.ZeroPad2d(self.random.choice([1, (0, 1, 2, 0)]))

    def bare(self, **how: int) -> nn.Module:
        """A convolution of one size, with a bias or without, perhaps with a batch-norm."""
        size = self.random.choice([1, 3])
        bias = self.random.random() < 0.6
        made = [nn.Conv2d(CHANNELS, CHANNELS, size, padding=size // 2, bias=bias, **how)]
        if self.random.random() < 0.5:
            made.append(nn.BatchNorm2d(CHANNELS))
        return nn.Sequential(*made)

    def conv(self, **how: int) -> nn.Module:
        after = [self.bend()]
        if self.long and self.random.random() < 0.6:
            more = [nn.LeakyReLU(0.1), nn.BatchNorm2d(CHANNELS), nn.Hardtanh(-0.5, 1.5), nn.ReLU()]
            after = self.random.choice([[after[0], *more[1:3]], [more[0]], [after[0], more[3]]])
        return nn.Sequential(self.bare(**how), *after)

    def bend(self) -> nn.Module:
        makers = [nn.ReLU, nn.ReLU, lambda: nn.ReLU(inplace=True), nn.ReLU6]
        return self.random.choice([*makers, lambda: nn.Hardtanh(-0.5, 1.5), nn.Identity])()


def drawn(seed: int, *, long: bool = False) -> nn.Module:
    """A random network with random parameters, some of them 0."""
    network = Draw(seed, long=long).network()
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        values = torch.randn(parameter.shape, generator=generator) * 0.5
        values[torch.rand(parameter.shape, generator=generator) < 0.05] = 0
        parameter.data = values
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            size = part.running_mean.shape
            part.running_mean = torch.randn(size, generator=generator) * 0.3
            part.running_var = torch.rand(size, generator=generator) + 0.5
    return network.double()


def picture(samples: int, seed: int = 0) -> Tensor:
    """Numbers some of which are 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, CHANNELS, SIDE, SIDE, generator=generator).double()
    x[:, :, :3, :3] = 0
    return x


def recorded(network: Callable[..., Tensor], x: Tensor, target: Target = 1) -> Recording:
    return record(network, (x,), target, Options())


def chained(recording: Recording) -> list[Step]:
    return [step for step in recording.steps if step.chain is not None]


def assert_close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    size = float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * max(size, 1))


def assert_same(found: Attribution, wanted: Attribution, tolerance: float) -> None:
    assert isinstance(found.map, Tensor)
    assert isinstance(wanted.map, Tensor)
    assert_close(found.map, wanted.map, tolerance)
    assert list(found.layers) == list(wanted.layers)
    for name, values in found.layers.items():
        assert_close(values, wanted.layers[name], tolerance)
    mine, other = found.certificate, wanted.certificate
    assert_close(mine.fallback_mass, other.fallback_mass, tolerance)
    assert_close(mine.injected_mass, other.injected_mass, tolerance)
    assert (mine.verdict, mine.passed) == (other.verdict, True)
    scale = float(other.injected_mass.max()) if other.injected_mass.numel() else 1.0
    for a, b in ((found.residual, wanted.residual), (mine.residual, other.residual)):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(scale, 1))


def compare(
    network: Callable[..., Tensor],
    x: Tensor,
    rule: str = "uniform",
    *,
    target: Target = 1,
    tolerance: float = 1e-10,
    fallback: Fallback = "uniform",
    fold: bool = True,
    layers: bool = False,
) -> Attribution:
    """With kernels as without; what is found with them."""
    method = bm.BiasBackprop(network, rule, fold=fold, fallback=fallback)
    found = method.explain(x, target, layers=layers)
    with without_kernels():
        wanted = method.explain(x, target, layers=layers)
    assert_same(found, wanted, tolerance)
    return found


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("rule", RULES)
def test_random_networks(rule: str, fallback: Fallback, fold: bool) -> None:
    for seed in range(3):
        network, x = drawn(seed), picture(1 + seed % 3)
        for layers in (True, False):
            found = compare(network, x, rule, fallback=fallback, fold=fold, layers=layers)
            assert found.complete or fallback == "drop"


@pytest.mark.parametrize("seed", range(3, 27))
def test_more_random_networks(seed: int) -> None:
    rule, fallback = RULES[seed % len(RULES)], FALLBACKS[seed % 3]
    compare(drawn(seed), picture(1 + seed % 2), rule, fallback=fallback)
    compare(drawn(seed), picture(3), "proportional", fallback=fallback)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_in_single_precision(seed: int, rule: str) -> None:
    network, x = drawn(seed + 40).float(), picture(2, seed).float()
    for layers in (True, False):
        compare(network, x, rule, tolerance=1e-5, layers=layers)


@pytest.mark.parametrize("seed", range(12))
def test_ledgers(seed: int) -> None:
    network, x = drawn(seed, long=True), picture(1 + seed % 3)
    found = bm.local_affine(network, x, 2)
    with without_kernels():
        wanted = bm.local_affine(network, x, 2)
    assert [(r.name, r.kind, r.op) for r in found.ledger] == [
        (r.name, r.kind, r.op) for r in wanted.ledger
    ]
    for a, b in zip(found.ledger, wanted.ledger, strict=True):
        assert_close(a.share, b.share, 1e-10)
    assert_close(found.certificate.injected_mass, wanted.certificate.injected_mass, 1e-10)
    assert_close(found.ledger.total(), found.bias, 1e-10)
    assert found.certificate.passed


def test_what_is_drawn_has_chains_and_takes_fallbacks() -> None:
    lengths = [len(chained(recorded(drawn(seed), picture(2)))) for seed in range(12)]
    assert min(lengths) > 0
    assert sum(lengths) > 36
    masses = [compare(drawn(seed), picture(2)).certificate.fallback_mass for seed in range(12)]
    assert sum(bool((mass > 0.01).all()) for mass in masses) > 6
    with without_kernels():
        assert not chained(recorded(drawn(0), picture(2)))


CONV: Callable[[], nn.Module] = lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)  # noqa: E731
BEYOND: dict[str, Callable[[], list[nn.Module]]] = {
    "norm, leaky": lambda: [nn.BatchNorm2d(CHANNELS), nn.LeakyReLU(0.1)],
    "norm, smooth": lambda: [nn.BatchNorm2d(CHANNELS), nn.SiLU()],
    "relu, norm": lambda: [nn.ReLU(), nn.BatchNorm2d(CHANNELS)],
    "relu, norm, relu": lambda: [nn.ReLU(), nn.BatchNorm2d(CHANNELS), nn.ReLU()],
    "relu, hard tanh": lambda: [nn.ReLU(), nn.Hardtanh(-0.5, 0.7)],
    "hard tanh, relu6": lambda: [nn.Hardtanh(-0.5, 1.5), nn.ReLU6()],
    "norm, norm, relu": lambda: [*(nn.BatchNorm2d(CHANNELS) for _ in "ab"), nn.ReLU()],
    "relu, leaky": lambda: [nn.ReLU(), nn.LeakyReLU(0.2)],
    "nothing, leaky": lambda: [nn.LeakyReLU(0.2)],
}


def followed(after: list[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    end = [CONV(), nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.Flatten(), nn.LazyLinear(CLASSES)]
    network = nn.Sequential(CONV(), *after, *end).eval()
    network(torch.zeros(1, CHANNELS, SIDE, SIDE))
    return seeded(network)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("after", BEYOND)
def test_all_slopes_that_follow_are_folded(after: str, rule: str) -> None:
    """Also those beyond what is walked together."""
    found = compare(followed(BEYOND[after]()), picture(2), rule)
    assert found.complete


@pytest.mark.parametrize("seed", range(100, 112))
def test_random_networks_with_long_runs_of_slopes(seed: int) -> None:
    compare(drawn(seed, long=True), picture(2), RULES[seed % len(RULES)])


def channels_without_slope() -> nn.Module:
    network = followed([nn.BatchNorm2d(CHANNELS), nn.Hardtanh(-0.5, 1.5)])
    with torch.no_grad():
        network[1].weight[1] = 0
        network[1].weight[2] = -1.5
    return network


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("rule", RULES)
def test_a_slope_of_0_or_below_in_a_norm(rule: str, fallback: Fallback) -> None:
    found = compare(channels_without_slope(), picture(2), rule, fallback=fallback)
    assert bool((found.certificate.fallback_mass > 0).all())


def test_a_bias_of_minus_infinity_behind_which_units_are_0() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    seeded(network)
    with torch.no_grad():
        network[0].bias[1] = -torch.inf
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).double()
    assert compare(network, x).complete
    for found, wanted in pairs(network, x):
        assert (found.intercept is None) == (wanted.intercept is None)
        if found.intercept is not None:
            assert bool(found.intercept.isfinite().all())


class ToNothing(nn.Module):
    """An infinite output of a chain, which is cut off behind the next layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(108, 2)
        with torch.no_grad():
            self.first.weight[0] = 3e38
            self.second.weight.abs_()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.head(torch.clamp(self.second(h), max=4.0).flatten(1))


def test_an_infinite_output_of_a_chain_is_seen() -> None:
    torch.manual_seed(0)
    network, x = ToNothing().eval(), torch.rand(2, 2, 8, 8) * 10
    assert bm.BiasBackprop(network, "proportional").explain(x, 0).complete


def test_a_hard_tanh_with_the_bounds_of_a_relu_keeps_its_row() -> None:
    network, x = followed([nn.Hardtanh(0.0, float("inf"))]), picture(1)
    found = [row.name for row in bm.local_affine(network, x, 0).ledger]
    with without_kernels():
        assert found == [row.name for row in bm.local_affine(network, x, 0).ledger]


class Twice(nn.Module):
    """A convolution that two operations look at."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.other, self.act = CONV(), CONV(), act
        self.head = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        out: Tensor = self.head((self.act(z) + self.other(z)).flatten(1))
        return out


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.Identity])
def test_what_two_operations_look_at_is_no_chain(act: Callable[[], nn.Module], rule: str) -> None:
    torch.manual_seed(0)
    network, x = seeded(Twice(act())), picture(2)
    assert "conv" not in [step.label for step in chained(recorded(network, x))]
    assert compare(network, x, rule).complete


class Both(nn.Module):
    """A value that is explained beside what is made from it."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.lin(x)
        return torch.cat([z, F.relu(z)], 1)


@pytest.mark.parametrize("target", [0, 4])
def test_a_value_that_is_shown_before_and_behind_its_bend(target: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4).double()
    assert compare(seeded(Both()), x, target=target).complete


ENDS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hard tanh": lambda: nn.Hardtanh(-0.5, 0.5)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("end", ENDS)
def test_what_is_explained_may_be_the_end_of_a_chain(end: str, rule: str) -> None:
    torch.manual_seed(0)
    network = seeded(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), ENDS[end]()))
    x = torch.randn(3, 4).double()
    assert len(chained(recorded(network, x))) == 1
    for target in range(8):
        found = compare(network, x, rule, target=target)
        assert found.complete


def test_what_is_explained_may_be_a_convolution() -> None:
    network, x = seeded(nn.Sequential(CONV(), nn.ReLU(), CONV(), nn.ReLU6())), picture(2)
    found = compare(network, x, "proportional", target=lambda out: out[:, 1, 2, 2])
    assert found.complete
    assert compare(network, x, target=lambda out: torch.relu(out.sum((1, 2, 3)))).complete


def test_a_chain_by_hand() -> None:
    """Proportional shares of a layer, its norm and a hard tanh, unit by unit."""
    torch.manual_seed(3)
    network = seeded(nn.Sequential(nn.Linear(4, 40), nn.BatchNorm1d(40), nn.Hardtanh(-0.5, 1.5)))
    x = torch.randn(1, 4).double()
    found = bm.BiasBackprop(network, "proportional").explain(x, lambda out: out.sum(1))
    layer, norm, _ = network.requires_grad_(False)
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    wanted = torch.zeros(4).double()
    for p in range(40):
        e = layer.weight[p] * x[0]
        below = float((e.sum() + layer.bias[p] - norm.running_mean[p]) * slope[p] + norm.bias[p])
        if -0.5 < below < 1.5:
            bias = float((layer.bias[p] - norm.running_mean[p]) * slope[p] + norm.bias[p])
            wanted += bias * e.abs() / e.abs().sum()
        else:
            wanted += min(max(below, -0.5), 1.5) / 4
    torch.testing.assert_close(found.single[0], wanted)


def pairs(network: nn.Module, x: Tensor) -> list[tuple[Step, Step]]:
    """Steps with kernels, and without."""
    found = recorded(network, x)
    with without_kernels():
        wanted = recorded(network, x)
    assert [s.label for s in found.steps] == [s.label for s in wanted.steps]
    return list(zip(found.steps, wanted.steps, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_a_step_within_a_chain_has_its_constant_and_gradient(seed: int) -> None:
    network, x = drawn(seed, long=True), picture(2)
    within = 0
    for found, wanted in pairs(network, x):
        within += found.within
        assert not wanted.within
        mine, other = found.injected(), wanted.injected()
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            assert_close(mine, other, 1e-12)
        if wanted.intercept is not None:
            assert found.intercept is not None
            assert torch.equal(found.intercept, wanted.intercept)
        if wanted.grad is not None:
            assert found.grad is not None
            assert_close(found.grad, wanted.grad, 1e-12)
    assert within > 1


def test_each_step_is_in_one_chain_at_most() -> None:
    for seed in range(6):
        recording = recorded(drawn(seed, long=True), picture(2))
        tops = [step.chain.top.label for step in recording.steps if step.chain is not None]
        assert len(set(tops)) == len(tops)
        assert not any(step.within and step.chain is not None for step in recording.steps)
        within = {step.label for step in recording.steps if step.within}
        assert set(tops) <= within


@pytest.mark.parametrize("rule", RULES)
def test_what_a_hook_does_is_no_part_of_a_chain(rule: str) -> None:
    network = followed([nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)])
    network[0].register_forward_hook(lambda module, args, out: out * 0.5 + 0.25)
    network[2].register_forward_hook(lambda module, args, out: out + 0.5)
    assert compare(network, picture(2), rule).complete


@pytest.mark.parametrize("rule", RULES)
def test_writes_and_layers_used_twice(rule: str) -> None:
    torch.manual_seed(0)
    network, x = seeded(Residual()), torch.randn(2, 2, 8, 8).double()
    for fold in (True, False):
        assert compare(network, x, rule, fold=fold).complete


@pytest.mark.parametrize("rule", RULES)
def test_half_precision(rule: str) -> None:
    network, x = drawn(1).bfloat16(), picture(2).bfloat16()
    found = bm.BiasBackprop(network, rule).explain(x, 1)
    assert found.complete
    assert found.single.dtype == torch.bfloat16


CHANNELS_LAST: dict[str, Callable[[], nn.Module]] = {
    "chains": lambda: drawn(1),
    "sums": lambda: drawn(2),
    "depthwise first": lambda: nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
        nn.Flatten(),
        nn.Linear(CHANNELS * SIDE * SIDE, CLASSES),
    ),
    "depthwise behind a pool": lambda: nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(CHANNELS, CLASSES),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", CHANNELS_LAST)
def test_channels_last(kind: str, rule: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = CHANNELS_LAST[kind]().to(dtype, memory_format=torch.channels_last)
    x = picture(2).to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    found = compare(network.eval(), x, rule, tolerance=tolerance)
    last = x.contiguous(memory_format=torch.channels_last)
    again = compare(network, last, rule, tolerance=tolerance)
    assert found.complete
    assert again.complete
    assert_close(again.single, found.single, tolerance)


@pytest.mark.parametrize("rule", RULES)
def test_no_samples(rule: str) -> None:
    found = compare(drawn(0), picture(0), rule)
    assert found.single.shape == (0, CHANNELS, SIDE, SIDE)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "softmax_signed"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_layers_bias_lands_adds_up(seed: int, rule: str) -> None:
    method = bm.BiasBackprop(drawn(seed), rule)
    whole = method.certified((picture(2),), 1, keep=True)
    parts = list(landings(method, whole, 4))
    assert len(parts) > 1
    assert_close(torch.stack([part.map for part in parts]).sum(0), whole.walk.maps[0], 1e-10)
    with without_kernels():
        again = method.certified((picture(2),), 1, keep=True)
        others = list(landings(method, again, 4))
    for part, other in zip(parts, others, strict=True):
        assert part.layers == other.layers
        assert_close(part.injected, other.injected, 1e-10)
        assert_close(part.map, other.map, 1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_samples_are_explained_alike_together_and_alone(rule: str) -> None:
    network, x = drawn(5), picture(3)
    method = bm.BiasBackprop(network, rule)
    together = method.explain(x, [0, 2, 1]).single
    alone = [method.explain(x[i : i + 1], t).single for i, t in enumerate([0, 2, 1])]
    assert_close(together, torch.cat(alone), 1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_diagnostics_and_a_profile_see_the_same(rule: str) -> None:
    method, x = bm.BiasBackprop(drawn(1), rule), picture(2)
    found, plain = method.explain(x, 1, diagnostics=True), method.explain(x, 1)
    profiled = method.explain(x, 1, profile=True)
    with without_kernels():
        wanted = method.explain(x, 1, diagnostics=True)
    assert found.diagnostics
    assert found.diagnostics == pytest.approx(wanted.diagnostics)
    assert torch.equal(found.certificate.margin, wanted.certificate.margin)
    assert_close(found.single, plain.single, 1e-12)
    assert_close(profiled.single, plain.single, 1e-12)


def test_inference_tensors_and_parameters_with_gradients() -> None:
    network, x = drawn(0), picture(2)
    assert all(p.requires_grad for p in network.parameters())
    plain = compare(network, x).single
    with torch.inference_mode():
        copied, made = drawn(0), picture(2)
        inside = bm.BiasBackprop(network, "uniform").explain(made, 1).single
    assert made.is_inference()
    assert_close(inside, plain, 0)
    assert_close(compare(network, made).single, plain, 0)
    assert_close(compare(copied.requires_grad_(False), made).single, plain, 0)
    assert all(p.grad is None for p in network.parameters())
    leaf = picture(2).requires_grad_()
    found = compare(network, leaf).single
    assert not found.requires_grad
    assert leaf.grad is None


def test_a_row_of_pictures_that_is_a_view() -> None:
    wide = picture(4)[::2, :, :, :]
    assert not wide.is_contiguous()
    assert_close(compare(drawn(1), wide).single, compare(drawn(1), wide.clone()).single, 1e-12)
