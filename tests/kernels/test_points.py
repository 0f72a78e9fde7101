"""Even shares in a map of channels at single places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import points
from biasmatters.kernels.cuts import find_cuts
from biasmatters.kernels.points import SPAN
from tests.kernels.test_bends import BENDS
from tests.kernels.values import FORMATS, assert_close, numbers, one_by_one

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
    cuts = find_cuts(weight)
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
    beta, missed = points.split(x, tau, find_cuts(weight), to_all=to_all)
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
    beta, missed = points.split(x, tau, find_cuts(weight), to_all=to_all)
    wanted, alone = by_loop(x, tau, weight, to_all=to_all)
    assert_close(beta, wanted)
    assert bool(alone.any()) == missed


@pytest.mark.parametrize("at", [0, SPAN - 1, SPAN, SPAN + 3])
def test_a_single_place_without_inputs_is_told(at: int) -> None:
    x, tau = torch.ones(1, 3, SPAN + 4), torch.ones(1, 2, SPAN + 4)
    cuts = find_cuts(torch.ones(2, 3))
    assert not points.split(x, tau, cuts, to_all=False)[1]
    x[0, :, at] = 0
    beta, missed = points.split(x, tau, cuts, to_all=False)
    assert missed
    assert not beta[0, :, at].any()
    assert not points.split(x, tau, cuts, to_all=True)[1]


def naive_cuts(weight: Tensor) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """What `find_cuts` lists: units without zeros, those with, where, which, and dead channels."""
    units, inputs = range(weight.shape[0]), range(weight.shape[1])
    gone = [[q for q in inputs if not weight[p, q].detach().ne(0)] for p in units]
    some = [p for p in units if gone[p]]
    firsts = [sum(len(gone[p]) for p in some[:i]) for i in range(len(some) + 1)]
    dead = [q for q in inputs if all(q in gone[p] for p in units)]
    return [p for p in units if not gone[p]], some, firsts, sum(gone, []), dead  # noqa: RUF017


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("holes", [0.0, 0.02, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 7), (31, 17)])
def test_cuts_are_those_of_a_naive_listing(
    shape: tuple[int, int], holes: float, dtype: torch.dtype
) -> None:
    for seed in range(3):
        weight = numbers(*shape, dtype=dtype, seed=seed, holes=holes).requires_grad_()
        cuts = find_cuts(weight)
        found = cuts.whole, cuts.units, cuts.firsts, cuts.channels, cuts.dead
        assert tuple(t.tolist() for t in found) == naive_cuts(weight)
        assert {str(t.dtype) for t in found} == {"int64"}


def test_the_smallest_number_cuts_nothing_and_a_nan_neither() -> None:
    weight = torch.tensor([[1e-45, torch.nan], [-0.0, torch.inf]])
    cuts = find_cuts(weight)
    assert (cuts.units.tolist(), cuts.channels.tolist()) == ([1], [0])
    assert not len(cuts.dead)


class BentCase:
    """Bias above a bend; in the second sample all inputs of some places are 0."""

    def __init__(
        self, space: tuple[int, ...], bend: str, dtype: torch.dtype, units: int = 4, inputs: int = 5
    ) -> None:
        low, high, at_low, at_high = BENDS[bend]
        self.x = numbers(3, inputs, *space, dtype=dtype, seed=1)
        self.x.reshape(3, inputs, -1)[1, :, ::3] = -0.0
        shape = (3, units, *space)
        self.y = numbers(*shape, dtype=dtype, seed=2).clamp(low, high)
        self.grad = numbers(*shape, dtype=dtype, seed=3)
        self.above = numbers(*shape, dtype=dtype, seed=4)
        self.shift = numbers(units, dtype=dtype, seed=6, holes=0.0)
        self.bounds = torch.tensor(BENDS[bend], dtype=dtype)
        inside = (self.y > low) & (self.y < high)
        at = at_low * (self.y <= low).double() + at_high * (self.y >= high).double()
        constant = self.shift.double().reshape(-1, *(1,) * len(space))
        total = self.above.double() + self.grad.double() * torch.where(inside, constant, at)
        self.live, self.held = total * inside, total * ~inside

    @property
    def bent(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.above, self.grad, self.y, self.shift, self.bounds

    def by_loop(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What channels get, how much went to all, and what no channel takes."""
        x = self.x.double()
        beta, alone = by_loop(x, self.live, weight.double(), to_all=False)
        rest = self.held + self.live * alone
        extra, orphan = by_loop(x, rest, weight.double(), to_all=True)
        mass, lost = rest.abs(), rest * orphan
        return beta + extra, mass.flatten(1).sum(1), lost.flatten(1).sum(1)

    def assert_handed_out(
        self,
        weight: Tensor,
        found: tuple[Tensor, Tensor, Tensor | None],
        wanted: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """Both are what channels get, how much went to all, and what no channel takes."""
        (beta, mass, lost), (each, size, orphans), dtype = found, wanted, self.x.dtype
        assert_close(beta, each.to(dtype))
        assert_close(mass, size.to(dtype))
        assert (lost is None) == (not bool(orphans.any()))
        if lost is not None:
            assert_close(lost, orphans.to(dtype))
        assert not beta[:, ~(weight != 0).any(0)].any()
        whole = (self.live + self.held).flatten(1).sum(1).to(dtype)
        assert_close(beta.flatten(1).sum(1) + (0 if lost is None else lost), whole)


KINDS = ["none", "few", "many", "a row", "a column", "all"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_bias_below_a_bend_goes_where_a_loop_over_units_takes_it(
    space: tuple[int, ...], dtype: torch.dtype, bend: str, kind: str
) -> None:
    case, weight = BentCase(space, bend, dtype), weights(kind, 4, 5, dtype)
    given = [case.x, *case.bent, weight]
    before = [t.clone() for t in given]
    found = points.split_bent(case.x, case.bent, find_cuts(weight))
    assert all(map(torch.equal, before, given))
    case.assert_handed_out(weight, found, case.by_loop(weight))


@pytest.mark.parametrize(("units", "inputs"), [(1, 1), (1, 4), (7, 1), (3, 33), (40, 6)])
def test_bias_below_a_bend_of_few_and_many(units: int, inputs: int) -> None:
    case = BentCase((11,), "relu6", torch.float64, units, inputs)
    weight = weights("some", units, inputs, torch.float64)
    weight[0] = 0
    beta, mass, lost = points.split_bent(case.x, case.bent, find_cuts(weight))
    wanted, size, orphans = case.by_loop(weight)
    assert_close(beta, wanted)
    assert_close(mass, size)
    assert lost is not None
    assert_close(lost, orphans)


def test_mass_and_orphans_are_those_of_each_sample() -> None:
    case = BentCase((SPAN + 7,), "hard tanh", torch.float64)
    cuts = find_cuts(weights("a row", 4, 5, torch.float64))
    beta, mass, lost = points.split_bent(case.x, case.bent, cuts)
    assert lost is not None
    assert len(set(mass.tolist())) == len(set(lost.tolist())) == 3
    for n in range(3):
        above, grad, y = (t[n : n + 1] for t in case.bent[:3])
        one = points.split_bent(case.x[n : n + 1], (above, grad, y, *case.bent[3:]), cuts)
        assert torch.equal(one[0][0], beta[n])
        assert torch.equal(one[1], mass[n : n + 1])
        assert one[2] is not None
        assert torch.equal(one[2], lost[n : n + 1])


def test_spans_may_be_taken_one_by_one_in_any_order() -> None:
    case = BentCase((2, SPAN + 9), "relu6", torch.float64)
    cuts = find_cuts(weights("few", 4, 5, torch.float64))
    together = points.split_bent(case.x, case.bent, cuts)
    with one_by_one() as rows:
        apart = points.split_bent(case.x, case.bent, cuts)
    assert rows == [3 * 3]
    assert torch.equal(together[0], apart[0])
    assert torch.equal(together[1], apart[1])
