"""Connections are counted without a convolution, whatever is missing in the kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.counting import Holes, counting, find_holes

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
    if by_rows is None:
        assert holes is True
    else:
        assert isinstance(holes, Holes)
        assert (holes.by_rows, holes.places.tolist()) == (by_rows, [3, 7] if by_rows else [5, 9])
    x = torch.randn(2, CHANNELS, 5, 5).double()
    assert counting(conv(where, 3), x) is not None


def test_what_is_not_cheaper_is_left_to_a_convolution() -> None:
    x = torch.randn(2, CHANNELS, 5, 5).double()
    assert find_holes(kernel("anywhere", 3), 1) is False
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
