"""Even shares of bias above a bend, over the windows of all channels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.kernels import even
from tests.kernels.values import FORMATS, assert_close, numbers

CHANNELS, UNITS, COUNTED = 3, 4, (0.0, 0.5)
# Holds nothing, as a ReLU, or constants; stride and padding of a kernel of 3.
BENDS = {"relu": (0.0, torch.inf, 0.0, 0.0), "two bounds": (-0.5, 1.0, -0.5, 1.0)}


def by_torch(
    x: Tensor, above: tuple[Tensor, ...], units: list[int], stride: int, pad: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The map, the size of what went to all, and the sum of what has nothing in reach."""
    beta, grad, y, shift, (low, high, at_low, at_high) = above
    inside, at = (y > low) & (y < high), torch.where(y <= low, at_low, at_high)
    total = beta + grad * torch.where(inside, shift.reshape(-1, 1, 1), at)
    ones = torch.ones(UNITS, CHANNELS, 3, 3, dtype=x.dtype)
    seen = (x != 0).to(x.dtype)
    count = F.conv2d(seen, ones, None, stride, pad)
    whole = F.conv2d(torch.ones_like(x), ones, None, stride, pad)
    chosen = torch.zeros_like(y)
    chosen[:, units] = 1
    live = total * (inside & (count > 0)) * chosen
    held = total * chosen - live
    back = [
        torch.nn.grad.conv2d_input(list(x.shape), ones, share, stride, pad)
        for share in (live / count.clamp_min(1), held / whole.clamp_min(1))
    ]
    lost = held * (whole == 0)
    return seen * back[0] + back[1], held.abs().sum((1, 2, 3)), lost.sum((1, 2, 3))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("apart", [[], [1, 3]])
@pytest.mark.parametrize(("stride", "pad"), [(1, (1, 1)), (2, (0, 0)), (1, (4, 1))])
@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("bend", BENDS)
def test_shares_are_those_of_torchs_operations(
    bend: str, dead: bool, stride: int, pad: tuple[int, int], apart: list[int], dtype: torch.dtype
) -> None:
    x = numbers(2, CHANNELS, 11, 9, dtype=dtype, holes=0.2)
    if dead:
        x[1, :, 2:9, 1:8] = 0  # windows without any input
    size = F.conv2d(x, x.new_ones(UNITS, CHANNELS, 3, 3), None, stride, pad).shape
    beta, grad, y = (numbers(*size, dtype=dtype, seed=seed) for seed in (1, 2, 3))
    bounds = torch.tensor(BENDS[bend], dtype=dtype)
    y = y.clamp(float(bounds[0]), float(bounds[1]))
    if bend == "relu":
        beta = beta * (y > 0)  # as it arrives there
    above = beta, grad, y, numbers(UNITS, dtype=dtype, seed=4), bounds
    units = [unit for unit in range(UNITS) if unit not in apart]
    places = tuple((n, n) for n in pad), (1, 1), (stride, stride)
    weight, left = x.new_empty(UNITS, CHANNELS, 3, 3), torch.tensor(apart, dtype=torch.long)
    found, mass, orphans = even.split_bent(x, above, weight, left, *places, COUNTED)
    wanted, size_of_rest, lost = by_torch(x, above, units, stride, pad)
    assert_close(found, wanted)
    assert (mass is None) == (not bool(size_of_rest.any()))
    if mass is not None:
        assert_close(mass, size_of_rest)
    assert_close(torch.zeros_like(lost) if orphans is None else orphans, lost)


def test_where_nothing_is_left_over_nothing_is_returned() -> None:
    x, bounds = torch.ones(1, CHANNELS, 5, 5), torch.tensor(BENDS["relu"])
    above = torch.ones(1, UNITS, 5, 5), torch.ones(1, UNITS, 5, 5), torch.ones(1, UNITS, 5, 5)
    weight, none = torch.ones(UNITS, CHANNELS, 3, 3), torch.tensor([], dtype=torch.long)
    places = ((1, 1), (1, 1)), (1, 1), (1, 1)
    shift = torch.zeros(UNITS)
    found, *rest = even.split_bent(x, (*above, shift, bounds), weight, none, *places, COUNTED)
    assert rest == [None, None]
    assert float(found.sum()) == pytest.approx(UNITS * 25)
