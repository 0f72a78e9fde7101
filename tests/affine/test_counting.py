"""Connections are counted without a convolution, whatever is missing in the kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.counting import counting, find_holes
from biasmatters.affine.mixing import Linear

UNITS, CHANNELS = 10, 12


def kernel(where: str, size: int, groups: int = 1) -> Tensor:
    torch.manual_seed(0)
    weight = torch.randn(UNITS, CHANNELS // groups, size, size).double()
    if where == "rows":
        weight[3], weight[7, 2] = 0, 0
    elif where == "columns":
        weight[:, 5, 0], weight[:8, 9] = 0, 0
    elif where == "anywhere":
        weight[torch.rand_like(weight) < 0.3] = 0
    return weight


def conv(where: str, size: int, stride: int = 1, padding: int = 0, groups: int = 1) -> ConvMap:
    pads = ((padding, padding),) * 2
    return ConvMap(kernel(where, size, groups), (stride,) * 2, pads, (1, 1), groups)


def by_convolution(made: ConvMap, x: Tensor) -> Tensor:
    padding = tuple(before for before, _ in made.padding)
    there = (made.weight != 0).to(x.dtype)
    return F.conv2d(x, there, None, made.stride, padding, 1, made.groups)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 0), (3, 2, 1)]
)
@pytest.mark.parametrize("where", ["nowhere", "rows", "columns", "anywhere"])
def test_it_equals_the_convolution_and_its_transpose(
    where: str, size: int, stride: int, padding: int, dtype: torch.dtype
) -> None:
    made = conv(where, size, stride, padding)
    x = torch.randn(2, CHANNELS, 7, 6, dtype=dtype, requires_grad=True)
    wanted = by_convolution(made, x)
    tau = torch.randn_like(wanted)
    (pulled,) = torch.autograd.grad(wanted, x, tau)
    found = made.power(0, x.detach())
    torch.testing.assert_close(found.forward(x.detach()), wanted.detach())
    torch.testing.assert_close(found.transpose(tau), pulled)
    # The same map again, as rules and fallback use it.
    torch.testing.assert_close(found.forward(x.detach()), wanted.detach())


def test_groups_count_apart() -> None:
    made = ConvMap(torch.randn(4, 9, 3, 3).double(), (1, 1), ((0, 0),) * 2, (1, 1), 2)
    x = torch.randn(2, 18, 5, 5).double()
    assert counting(made, x) is not None
    torch.testing.assert_close(made.power(0, x).forward(x), by_convolution(made, x))


@pytest.mark.parametrize(
    ("where", "by_rows"), [("rows", True), ("columns", False), ("nowhere", None)]
)
def test_few_holes_are_counted_apart(where: str, by_rows: bool | None) -> None:
    holes = find_holes(kernel(where, 3), 1)
    assert holes is not None
    if by_rows is None:
        assert not len(holes.places)
    else:
        assert (holes.by_rows, holes.places.tolist()) == (by_rows, [3, 7] if by_rows else [5, 9])
    x = torch.randn(2, CHANNELS, 5, 5).double()
    assert counting(conv(where, 3), x) is not None


def test_what_is_not_cheaper_is_left_to_a_convolution() -> None:
    x = torch.randn(2, CHANNELS, 5, 5).double()
    assert find_holes(kernel("anywhere", 3), 1) is None
    assert find_holes(torch.zeros(UNITS, CHANNELS, 1, 1), 1) is None
    assert find_holes(kernel("rows", 3), 2) is None
    assert counting(conv("anywhere", 3), x) is None
    depthwise = ConvMap(torch.randn(CHANNELS, 1, 3, 3), (1, 1), ((0, 0),) * 2, (1, 1), CHANNELS)
    assert counting(depthwise, x) is None


@pytest.mark.parametrize("where", ["nowhere", "rows", "columns", "anywhere"])
def test_the_fallback_hands_out_evenly_by_it(where: str) -> None:
    made = conv(where, 3, 1, 1)
    x = torch.zeros(2, CHANNELS, 5, 5).double()
    like = by_convolution(made, x)
    tau = torch.randn(like.shape).double()
    count = by_convolution(made, torch.ones_like(x))
    x.requires_grad_()
    (wanted,) = torch.autograd.grad(by_convolution(made, x), x, tau / count.clamp_min(1))
    beta, lost = hand_to_support(made, x.detach(), tau, 0)
    if where == "rows":  # unit 3 has no inputs at all
        wanted_lost = torch.zeros_like(tau)
        wanted_lost[:, 3] = tau[:, 3]
        assert lost is not None
        torch.testing.assert_close(lost, wanted_lost)
    else:
        assert lost is None
    torch.testing.assert_close(beta.contiguous(), wanted)


@pytest.mark.parametrize("rows", [False, True])
def test_a_channel_that_no_unit_sees_gets_exactly_nothing(rows: bool) -> None:
    weight = torch.randn(64, 64, 3, 3)
    weight[:, 7] = 0
    if rows:
        weight[5] = 0
    made = ConvMap(weight, (1, 1), ((1, 1),) * 2, (1, 1), 1)
    x, tau = torch.rand(2, 64, 6, 6), torch.randn(2, 64, 6, 6)
    for found in (made.power(0, x).transpose(tau), hand_to_support(made, x, tau, 0)[0]):
        assert not bool(found[:, 7].any())
        assert bool(found[:, 6].any())


def test_a_convolution_that_counts_inexactly_leaves_no_bias_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by Winograd or FFT on a GPU: a count of 0 comes out as 1e-6."""
    exact = ConvMap.as_is

    def inexact(self: ConvMap, like: Tensor) -> Linear:
        run = exact(self, like)
        return Linear(lambda x: run.forward(x) + 1e-6, run.transpose)

    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 9, 3), nn.Conv2d(9, 9, 3)
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    x = torch.randn(2, 1, 6, 8)
    with torch.no_grad():
        first.bias.fill_(-0.5)
        second.bias.fill_(1)
        x[:, :, :, :5] = 0
    wanted = bm.BiasBackprop(network, "uniform").explain(x, 0)
    monkeypatch.setattr(ConvMap, "as_is", inexact)
    found = bm.BiasBackprop(network, "uniform").explain(x, 0)
    assert bool((wanted.certificate.fallback_mass > 0.01).all())
    assert found.complete
    torch.testing.assert_close(found.map, wanted.map, atol=1e-4, rtol=1e-3)
