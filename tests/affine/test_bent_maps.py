"""Bias below bends and through depthwise convolutions: with kernels as by torch's operations."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.bent import Bent
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.law import Bend
from biasmatters.affine.maps import even, planes
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.walker import Walk
from biasmatters.kernels import blas, tiles, without_kernels
from biasmatters.rules import Rule, SplitsBent, Uniform, make_rule
from biasmatters.types import Attribution
from tests.affine.nets import seeded
from tests.affine.test_chains import (
    CHANNELS,
    CLASSES,
    FALLBACKS,
    SIDE,
    Fallback,
    assert_close,
    compare,
    drawn,
    picture,
)
from tests.kernels.test_windows import GEOMETRIES
from tests.kernels.values import numbers

RULES = ("uniform", "proportional")


pytestmark = pytest.mark.usefixtures("one_thread")


def check(
    network: nn.Module,
    x: Tensor,
    rule: str,
    *,
    fallback: Fallback = "uniform",
    fold: bool = True,
    layers: bool = False,
    tolerance: float = 1e-10,
) -> Attribution:
    """With kernels as without, fallback mass included, and the map adds up to the bias."""
    found = compare(
        network, x, rule, fallback=fallback, fold=fold, layers=layers, tolerance=tolerance
    )
    with without_kernels():
        form = bm.local_affine(network, x, 1)
    if fallback != "drop":
        total, mass = found.single.flatten(1).sum(1), form.certificate.injected_mass
        torch.testing.assert_close(
            total, form.bias, rtol=tolerance, atol=tolerance * max(1, float(mass.max()))
        )
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(200, 206))
def test_random_networks(seed: int, rule: str) -> None:
    network = drawn(seed, long=seed % 2 == 0)
    for samples in (1, 2, 3):
        check(network, picture(samples, seed), rule)
        check(network, picture(samples, seed), rule, layers=True)
    for fallback in FALLBACKS:
        check(network, picture(2, seed), rule, fallback=fallback, fold=fallback == "uniform")
        check(network, picture(2, seed), rule, fallback=fallback, fold=fallback != "uniform")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_random_networks_in_single_precision(seed: int, rule: str) -> None:
    check(drawn(seed).float(), picture(2, seed).float(), rule, tolerance=1e-5)


def deep(kernel: int | tuple[int, int] = 3, stride: int | tuple[int, int] = 1,
         padding: int | tuple[int, int] | str = 1, dilation: int | tuple[int, int] = 1,
         channels: int = CHANNELS) -> nn.Module:  # fmt: skip
    return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels)


def point(units: int = CHANNELS, stride: int = 1, inputs: int = CHANNELS) -> nn.Module:
    return nn.Conv2d(inputs, units, 1, stride)


MIXING: dict[str, Callable[[], list[nn.Module]]] = {
    "three": lambda: [deep()],
    "stride 2": lambda: [deep(stride=2)],
    "stride 2, zeros before": lambda: [nn.ZeroPad2d((0, 1, 0, 1)), deep(stride=2, padding=0)],
    "zeros around, uneven": lambda: [nn.ZeroPad2d((2, 0, 1, 3)), deep(5, padding=0)],
    "five": lambda: [deep(5, padding=2)],
    "uneven": lambda: [deep((2, 3), (1, 2), (0, 2), (2, 1))],
    "larger than the plane": lambda: [deep(7, 2, 3, 2)],
    "padded widely": lambda: [deep(3, 1, 4)],
    "strides that skip inputs": lambda: [deep(2, 3, 0)],
    "strides that skip most": lambda: [deep(2, 5, 0)],
    "the same, even": lambda: [deep((4, 2), 1, "same", (1, 3))],
    "one input": lambda: [nn.AdaptiveAvgPool2d(1), deep()],
    "one row": lambda: [nn.AdaptiveAvgPool2d((1, SIDE)), deep()],
    "several units": lambda: [nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, groups=CHANNELS),
                              nn.ReLU(), point(inputs=2 * CHANNELS)],
    "points": lambda: [point(9), nn.ReLU(), point(inputs=9)],
    "many points": lambda: [point(24), nn.ReLU(), point(inputs=24)],
    "points, stride 2": lambda: [point(9, 2), nn.ReLU(), point(inputs=9)],
    "points of a group": lambda: [point(8), nn.ReLU(), nn.Conv2d(8, CHANNELS, 1, groups=2)],
    "one channel": lambda: [point(1), nn.ReLU(), deep(channels=1), nn.ReLU6(), point(inputs=1)],
    "depthwise points": lambda: [deep(1, padding=0), nn.ReLU(), deep(1, 2, 0)],
    "one behind the other": lambda: [deep(), nn.BatchNorm2d(CHANNELS), nn.ReLU(), deep(5, 2, 2)],
    "inverted bottleneck": lambda: [point(8), nn.BatchNorm2d(8), nn.ReLU6(), deep(3, 2, 1, 1, 8),
                                    nn.BatchNorm2d(8), nn.ReLU6(), point(inputs=8)],
}  # fmt: skip
ACTS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard tanh": lambda: nn.Hardtanh(-0.5, 1.25),
    "hard tanh above 0": lambda: nn.Hardtanh(0.25, 1.25),
    "nothing": nn.Identity,
}
HOLES = ("none", "taps", "channels", "everything")


FEW = [
    "stride 2", "zeros around, uneven", "many points", "padded widely", "inverted bottleneck",
    "depthwise points", "points of a group",
]  # fmt: skip


def cut(network: nn.Module, holes: str) -> None:
    """Put zeros among the coefficients of convolutions."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        with torch.no_grad():
            weight = layer.weight
            if holes == "taps":
                weight[torch.rand(weight.shape, generator=generator) < 0.08] = 0
            if holes == "channels":
                weight[len(weight) // 2] = 0
                weight[-1, ..., 0] = -0.0
            if holes == "everything":
                weight[:] = 0


def made(kind: str, act: str, holes: str = "none") -> nn.Module:
    """A convolution, what is looked at, its bend, and classes."""
    torch.manual_seed(3)
    body = nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(),
        *MIXING[kind](), nn.BatchNorm2d(CHANNELS), ACTS[act](),
    )  # fmt: skip
    middle = seeded(body)
    cut(middle[2:] if isinstance(middle, nn.Sequential) else middle, holes)
    end = [nn.Conv2d(CHANNELS, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    head = seeded(nn.Sequential(*end, nn.Linear(20, CLASSES)))
    return nn.Sequential(middle, head).eval()


pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", MIXING)
def test_nets_by_hand(kind: str, act: str, rule: str) -> None:
    first = [*ACTS].index(act) + [*MIXING].index(kind)
    for i in (first, first + 1):
        check(made(kind, act, HOLES[i % 3]), picture(1 + i % 3), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", FEW)
def test_fallbacks_and_folds_of_nets_by_hand(kind: str, rule: str) -> None:
    for fallback in FALLBACKS:
        for fold in (True, False):
            for layers in (True, False):
                network = made(kind, "relu6", "channels")
                found = check(
                    network, picture(2), rule, fallback=fallback, fold=fold, layers=layers
                )
                assert bool((found.certificate.fallback_mass > 1e-3).all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MIXING)
def test_where_nothing_comes_through(kind: str, rule: str) -> None:
    """All coefficients are 0, or all inputs."""
    check(made(kind, "hard tanh", "everything"), picture(2), rule)
    check(made(kind, "hard tanh"), torch.zeros_like(picture(3)), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["three", "stride 2, zeros before", "points", "uneven"])
def test_nets_by_hand_in_single_precision(kind: str, rule: str) -> None:
    for holes in HOLES:
        network = made(kind, "relu6", holes).float()
        check(network, picture(2).float(), rule, tolerance=2e-5)


@pytest.mark.parametrize("rule", RULES)
def test_planes_and_points_beyond_a_span(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, CHANNELS, 61, 47, generator=generator).double()
    x[:, :, 10:20, 3:30] = 0
    for kind in ("stride 2, zeros before", "many points", "five"):
        check(made(kind, "relu", "channels"), x, rule)


@pytest.mark.parametrize("rule", RULES)
def test_samples_have_their_own(rule: str) -> None:
    """Mass and orphans of a sample do not go to another one."""
    method = bm.BiasBackprop(made("stride 2", "hard tanh", "channels"), rule)
    x = picture(3)
    x[1] = 0
    together = method.explain(x, 1)
    masses = []
    for n in range(3):
        alone = method.explain(x[n : n + 1], 1)
        assert_close(together.single[n : n + 1], alone.single, 1e-10)
        masses.append(alone.certificate.fallback_mass)
    assert_close(together.certificate.fallback_mass, torch.cat(masses), 1e-10)
    assert len({round(float(mass), 6) for mass in masses}) == 3


@pytest.mark.parametrize("rule", RULES)
def test_bias_is_split_above_the_bend_where_that_can_be(rule: str) -> None:
    """And nowhere else: a slope of 0, another fallback, layers that are kept."""
    calls: list[bool] = []
    own = type(make_rule(rule)).split_bent  # type: ignore[attr-defined]

    def spy(*args: object) -> object:
        calls.append(own(*args) is not None)
        return own(*args)

    with patch.object(type(make_rule(rule)), "split_bent", spy):
        network, x = made("three", "relu6"), picture(2)
        assert isinstance(make_rule(rule), SplitsBent)
        bm.BiasBackprop(network, rule).explain(x, 1)
        assert sum(calls) >= 2
        calls.clear()
        for fallback in FALLBACKS[1:]:
            bm.BiasBackprop(network, rule, fallback=fallback).explain(x, 1)
        bm.BiasBackprop(network, rule, fold=False).explain(x, 1)
        bm.BiasBackprop(network, rule).explain(x, 1, layers=True)
        bm.BiasBackprop(network, rule).explain(x, 1, diagnostics=True)
        with without_kernels():
            bm.BiasBackprop(network, rule).explain(x, 1)
        assert not calls


@pytest.mark.skipif(not blas.at_hand(), reason="torch's BLAS cannot be called here")
@pytest.mark.parametrize("rule", RULES)
def test_points_go_tile_by_tile_where_that_can_be(rule: str) -> None:
    """By one tile for each sample or by several; and by whole products, which come to the same."""
    network, x = made("many points", "relu6", "channels"), picture(3)
    with (
        patch.object(tiles, "split_bent", wraps=tiles.split_bent) as shared,
        patch.object(tiles, "pass_back", wraps=tiles.pass_back) as passed,
    ):
        wanted = check(network, x, rule)
        assert passed.call_count == 3
        assert shared.call_count == (3 if rule == "proportional" else 0)
        with patch.object(tiles, "ROOM", 100):
            small = check(network, x, rule)
        assert passed.call_count == 6
        with patch.object(tiles, "MANY", 1):
            whole = check(network, x, rule)
        assert passed.call_count == 6
    for found in (small, whole):
        assert_close(found.single, wanted.single, 1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_channels_whose_slope_is_zero(rule: str) -> None:
    network = made("three", "relu6")
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for value in (0.0, -0.0, -1.5, 1e-300):
        with torch.no_grad():
            norms[0].weight[1] = value
        check(network, picture(2), rule)


@pytest.mark.parametrize("rule", RULES)
def test_inputs_of_very_different_sizes(rule: str) -> None:
    """Shares of the smallest numbers, down to those that count as none."""
    for first in (deep(), point(), deep(3, 2)):
        end = [nn.BatchNorm2d(CHANNELS), nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        network = seeded(nn.Sequential(first, *end, nn.Linear(4 * CHANNELS, CLASSES)))
        for size in (1e-315, 1e-300, 1e-30, 1e6):
            x = picture(2)
            x[:, 1] *= size
            check(network, x, rule)
            check(network, picture(2) * min(size, 1), rule)


Split = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def by_walk(rule: str, fallback: Fallback, conv: ConvMap) -> Split:
    """What inputs get of tau, and the mass that took the fallback."""

    def split(x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        state = Walk(make_rule(rule).split, fallback, len(x), x.new_zeros(len(x)))
        return state.mix(conv, x, tau), torch.stack([state.fallback_mass, state.dropped])

    return split


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_depthwise_maps_of_every_geometry(geometry: str, rule: str) -> None:
    shape = GEOMETRIES[geometry]
    x = numbers(2, 4, *shape.space, dtype=torch.float64, seed=1)
    x[1, 3] = 0
    tau = numbers(2, 4, *shape.outputs, dtype=torch.float64, seed=2)
    weight = numbers(4, 1, *shape.kernel, dtype=torch.float64, seed=3, holes=0.1)
    weight[1] = 0
    conv = ConvMap(weight, shape.stride, shape.padding, shape.dilation, 4)
    for fallback in FALLBACKS:
        found = by_walk(rule, fallback, conv)(x, tau)
        with without_kernels():
            wanted = by_walk(rule, fallback, conv)(x, tau)
        for mine, other in zip(found, wanted, strict=True):
            assert_close(mine, other, 1e-10)
    back = planes.back_by_planes(conv, x, tau)
    fits = shape.fits and prod(shape.stride) <= planes.WASTE
    assert (back is None) == (not fits)
    if back is not None:
        assert_close(back, shape.transpose(tau, weight, x), 1e-10)


ARRIVES = ["bias", "gradient", "both"]


def bent_of(shape: tuple[int, ...], arrives: str, bend: Bend) -> Bent:
    y, grad, beta = (numbers(*shape, dtype=torch.float64, seed=seed) for seed in (4, 5, 6))
    shift = numbers(shape[1], dtype=torch.float64, seed=7, holes=0.0)
    above, behind = None if arrives == "gradient" else beta, None if arrives == "bias" else grad
    return Bent(above, behind, y.clamp(bend.low, bend.high), shift, bend)


def written_out(
    made: Rule, conv: ConvMap, x: Tensor, bent: Bent
) -> tuple[Tensor, Tensor, Tensor | None]:
    """By torch's operations: what inputs get, the size of what goes to all, what has no input."""
    tau, held, _ = bent.written_out()
    held = torch.zeros_like(tau) if held is None else held
    with without_kernels():
        beta, live = made.split(conv, x, tau, None)
        assert isinstance(live, Tensor)
        rest = held + tau * (1 - live)
        extra, lost = hand_to_support(conv, x, rest, 0)
    return beta + extra, rest.abs().sum((1, 2, 3)), lost


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("arrives", ARRIVES)
@pytest.mark.parametrize("kind", ["depthwise", "points", "grouped", "whole"])
def test_bias_above_a_bend_is_that_below_it(kind: str, arrives: str, rule: str) -> None:
    """Whatever arrives: nothing from above, or no constant."""
    groups = {"depthwise": 4, "grouped": 2}.get(kind, 1)
    side, pad = (1, 0) if kind == "points" else (3, 1)
    units = 24 if kind == "points" else 4
    weight = numbers(units, 4 // groups, side, side, dtype=torch.float64, seed=3, holes=0.03)
    weight[1] = 0
    conv = ConvMap(weight, (1, 1), ((pad, pad), (pad, pad)), (1, 1), groups)
    x, made = picture(2), make_rule(rule)
    for bend in (Bend(0.0, holds=False), Bend(0.0, 1.0), Bend(-0.5, 0.75), Bend(0.25, 0.5)):
        bent = bent_of((2, units, SIDE, SIDE), arrives, bend)
        assert isinstance(made, SplitsBent)
        found = made.split_bent(conv, x, bent)
        assert (found is None) == (rule == "uniform" and kind in ("grouped", "whole"))
        if found is None:
            continue
        beta, mass, lost = written_out(made, conv, x, bent)
        assert lost is not None
        assert_close(found[0], beta, 1e-10)
        assert_close(found[1], mass, 1e-10)
        assert found[2] is not None
        assert_close(found[2], lost.sum((1, 2, 3)), 1e-10)


@pytest.mark.parametrize("holes", ["none", "one unit", "few units"])
@pytest.mark.parametrize("arrives", ARRIVES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_whole_convolutions_with_few_zeros(geometry: str, arrives: str, holes: str) -> None:
    """One plane of sums stands for all units without, also of what is held and has no input."""
    shape, made = GEOMETRIES[geometry], Uniform()
    weight = numbers(9, 4, *shape.kernel, dtype=torch.float64, seed=3, holes=0.0)
    if holes != "none":
        weight[7, ::2] = 0.0
    if holes == "few units":
        weight[2] = -0.0
    conv = ConvMap(weight, shape.stride, shape.padding, shape.dilation, 1)
    fits = shape.fits and prod(shape.stride) <= planes.WASTE
    fits &= not conv.a_point or int((weight == 0).sum()) <= even.FEW * weight.numel()
    for seed, bend in enumerate((Bend(0.0, holds=False), Bend(0.0, 1.0), Bend(0.25, 0.5))):
        x = numbers(2, 4, *shape.space, dtype=torch.float64, seed=seed, holes=0.3)
        x[1, :, : shape.space[0] // 2 + 1] = 0
        bent = bent_of((2, 9, *shape.outputs), arrives, bend)
        found = made.split_bent(conv, x, bent)
        assert (found is None) == (not fits)
        if found is None:
            continue
        beta, mass, lost = written_out(made, conv, x, bent)
        assert_close(found[0], beta, 1e-10)
        assert_close(found[1], mass, 1e-10)
        lost = torch.zeros_like(bent.y) if lost is None else lost
        orphans = torch.zeros(2).double() if found[2] is None else found[2]
        assert_close(orphans, lost.sum((1, 2, 3)), 1e-10)


def test_what_planes_are_not_made_for() -> None:
    x, tau = picture(2), picture(2)
    weight = torch.ones(CHANNELS, 1, 1, 1).double()
    ones, zeros = (1, 1), ((0, 0), (0, 0))

    def back(conv: ConvMap, x: Tensor = x, tau: Tensor = tau) -> Tensor | None:
        return planes.back_by_planes(conv, x, tau)

    assert torch.equal(back(ConvMap(weight, ones, zeros, ones, CHANNELS)), tau)  # type: ignore[arg-type]
    cropped = ConvMap(weight, ones, ((-1, 1), (0, 0)), ones, CHANNELS)
    assert back(cropped) is None
    whole = ConvMap(torch.ones(CHANNELS, CHANNELS, 1, 1).double(), ones, zeros, ones, 1)
    assert back(whole) is None
    assert back(ConvMap(weight.float(), ones, zeros, ones, CHANNELS)) is None
    last = tau.contiguous(memory_format=torch.channels_last)
    assert back(ConvMap(weight, ones, zeros, ones, CHANNELS), tau=last) is None
    far = ConvMap(weight, (5, 5), zeros, ones, CHANNELS)
    assert back(far, tau=tau[:, :, ::5, ::5].contiguous()) is None
