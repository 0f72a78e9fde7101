"""Even shares in a map of channels at single places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import points
from biasmatters.kernels.points import SPAN
from tests.kernels.values import FORMATS, assert_close, numbers

SPACES = [(), (1,), (5, 3), (SPAN - 1,), (SPAN,), (SPAN + 1,), (2, SPAN + 9)]


def weights(kind: str, units: int, inputs: int, dtype: torch.dtype) -> Tensor:
    holes = {"none": 0.0, "few": 0.1, "many": 0.6}.get(kind, 0.2)
    weight = numbers(units, inputs, dtype=dtype, seed=5, holes=holes)
    if kind == "a row":
        weight[units // 2] = 0
    if kind == "a column":
        weight[:, inputs // 2] = -0.0
    if kind == "all":
        weight[:] = 0
    return weight


def by_loop(x: Tensor, tau: Tensor, weight: Tensor, *, to_all: bool) -> tuple[Tensor, Tensor]:
    """What channels get, and which units have no inputs, unit by unit."""
    beta, alone = torch.zeros_like(x), torch.zeros_like(tau, dtype=torch.bool)
    some = torch.ones_like(x) if to_all else (x != 0).to(x.dtype)
    for p, row in enumerate(weight):
        seen = some * (row != 0).to(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))
        count = seen.sum(1, keepdim=True)
        alone[:, p] = count[:, 0] == 0
        beta += seen * tau[:, p : p + 1] / count.clamp_min(1)
    return beta, alone


@pytest.mark.parametrize("kind", ["none", "few", "many", "a row", "a column", "all"])
def test_cuts_are_the_zeros(kind: str) -> None:
    weight = weights(kind, 6, 5, torch.float32)
    cuts = points.find_cuts(weight)
    gone = [[q for q in range(5) if float(weight[p, q]) == 0] for p in range(6)]
    assert cuts.whole.tolist() == [p for p in range(6) if not gone[p]]
    assert cuts.units.tolist() == [p for p in range(6) if gone[p]]
    assert len(cuts.firsts) == len(cuts.units) + 1
    assert int(cuts.firsts[0]) == 0
    for i, p in enumerate(cuts.units.tolist()):
        assert cuts.channels[cuts.firsts[i] : cuts.firsts[i + 1]].tolist() == gone[p]
    assert len(cuts.channels) == sum(map(len, gone))
    assert cuts.dead.tolist() == [q for q in range(5) if not weight[:, q].any()]


@pytest.mark.parametrize("to_all", [True, False])
@pytest.mark.parametrize("kind", ["none", "few", "many", "a row", "a column", "all"])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_shares_are_those_of_a_loop_over_units(
    space: tuple[int, ...], dtype: torch.dtype, kind: str, to_all: bool
) -> None:
    x, tau = numbers(2, 5, *space, dtype=dtype, seed=1), numbers(2, 4, *space, dtype=dtype, seed=2)
    weight = weights(kind, 4, 5, dtype)
    beta, missed = points.split(x, tau, points.find_cuts(weight), to_all=to_all)
    wanted, alone = by_loop(x, tau, weight, to_all=to_all)
    assert_close(beta, wanted)
    gone = ~(weight != 0).any(0)
    assert not beta[:, gone].any()
    assert not (beta * (x == 0)).any() or to_all
    assert bool(alone.any()) == missed


@pytest.mark.parametrize(("units", "inputs"), [(1, 1), (1, 4), (7, 1), (3, 33)])
@pytest.mark.parametrize("to_all", [True, False])
def test_few_units_and_few_channels(units: int, inputs: int, to_all: bool) -> None:
    x = numbers(3, inputs, 11, dtype=torch.float64, seed=1)
    tau = numbers(3, units, 11, dtype=torch.float64, seed=2)
    weight = weights("some", units, inputs, torch.float64)
    beta, missed = points.split(x, tau, points.find_cuts(weight), to_all=to_all)
    wanted, alone = by_loop(x, tau, weight, to_all=to_all)
    assert_close(beta, wanted)
    assert bool(alone.any()) == missed


@pytest.mark.parametrize("at", [0, SPAN - 1, SPAN, SPAN + 3])
def test_a_single_place_without_inputs_is_told(at: int) -> None:
    x, tau = torch.ones(1, 3, SPAN + 4), torch.ones(1, 2, SPAN + 4)
    cuts = points.find_cuts(torch.ones(2, 3))
    assert not points.split(x, tau, cuts, to_all=False)[1]
    x[0, :, at] = 0
    beta, missed = points.split(x, tau, cuts, to_all=False)
    assert missed
    assert not beta[0, :, at].any()
    assert not points.split(x, tau, cuts, to_all=True)[1]
