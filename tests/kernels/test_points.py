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
    beta, mass, lost = points.split_bent(case.x, case.bent, find_cuts(weight))
    assert all(map(torch.equal, before, given))
    wanted, size, orphans = case.by_loop(weight)
    assert_close(beta, wanted.to(dtype))
    assert_close(mass, size.to(dtype))
    assert (lost is None) == (not bool(orphans.any()))
    if lost is not None:
        assert_close(lost, orphans.to(dtype))
    assert not beta[:, ~(weight != 0).any(0)].any()
    whole = (case.live + case.held).flatten(1).sum(1).to(dtype)
    assert_close(beta.flatten(1).sum(1) + (0 if lost is None else lost), whole)


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


class OverTotals(BentCase):
    """Bias above a bend that is shared out by size, over a total that some units do not have."""

    def __init__(self, space: tuple[int, ...], bend: str, dtype: torch.dtype) -> None:
        super().__init__(space, bend, dtype)
        self.total = numbers(*self.y.shape, dtype=dtype, seed=7).abs()
        self.size = self.x.abs()
        self.each = numbers(*self.x.shape, dtype=dtype, seed=8)

    def share(self, least: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Shares of each unit, and the bias that is none of them."""
        tau, total = self.live + self.held, self.total.double()
        enough = total > torch.clamp(least[0] * tau.abs(), min=least[1])
        lives = enough & (self.live == tau)
        return torch.where(lives, tau / total, 0.0), tau.masked_fill(lives, 0)

    def finish(self, left: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What channels get, and what no channel takes."""
        x = self.x.double()
        extra, orphan = by_loop(x, left, weight.double(), to_all=True)
        beta = self.each.double() * self.size.double() + extra
        # Nobody gets what dead channels do, so that they have none of the shares either.
        dead = ~(weight != 0).any(0)
        beta[:, dead] = 0
        return beta, (left * orphan).flatten(1).sum(1)


LEASTS = [(0.0, 0.0), (0.0, 0.5), (0.3, 1e-30), (2.0, 0.5)]


@pytest.mark.parametrize("least", LEASTS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_bias_below_a_bend_over_a_total(
    space: tuple[int, ...], dtype: torch.dtype, bend: str, least: tuple[float, float]
) -> None:
    case = OverTotals(space, bend, dtype)
    before, given = [t.clone() for t in case.bent], case.total.clone()
    rest, mass = points.share_bent(case.bent, given, least)
    assert all(map(torch.equal, before, case.bent))
    share, left = case.share(least)
    assert_close(given, share.to(dtype))
    assert torch.equal(given != 0, share != 0)
    assert_close(rest, left.sum(1).reshape(len(left), -1).to(dtype))
    assert_close(mass, left.abs().flatten(1).sum(1).to(dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_what_was_left_goes_where_a_loop_over_units_takes_it(
    space: tuple[int, ...], dtype: torch.dtype, bend: str, kind: str
) -> None:
    case, weight = OverTotals(space, bend, dtype), weights(kind, 4, 5, dtype)
    cuts = find_cuts(weight)
    case.each[:, cuts.dead] = 0  # as a convolution returns it
    for least in LEASTS:
        share, beta = case.total.clone(), case.each.clone()
        rest, _ = points.share_bent(case.bent, share, least)
        given = [*case.bent, share, case.size]
        before = [t.clone() for t in given]
        lost = points.finish(case.bent, share, rest, cuts, case.size, beta)
        assert all(map(torch.equal, before, given))
        left = case.share(least)[1]
        wanted, orphans = case.finish(left, weight)
        assert_close(beta, wanted.to(dtype))
        assert not beta[:, cuts.dead].any()
        assert (lost is None) == (not bool(orphans.any()))
        if lost is not None:
            assert_close(lost, orphans.to(dtype))
        got = (beta.double() - case.each.double() * case.size.double()).flatten(1).sum(1)
        back = got + (0 if lost is None else lost.double())
        assert_close(back.to(dtype), left.flatten(1).sum(1).to(dtype))


def plain(
    beta: list[float], y: list[float], bounds: tuple[float, float, float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Units of a single place, each with a gradient of 1 and a constant of 10."""
    above, value = (torch.tensor(v).reshape(1, -1, 1) for v in (beta, y))
    constant = torch.full((len(y),), 10.0)
    return above, torch.ones_like(above), value, constant, torch.tensor(bounds)


def test_a_total_just_at_its_least_and_a_value_just_at_a_bound_count_as_none() -> None:
    beta, y = [-6.0, -14.0, -9.0, 1.0, 2.0, 3.0, -9.5], [0.5, 0.5, 0.5, 0.0, -0.0, 1.0, 0.5]
    bent = plain(beta, y, (0.0, 1.0, 100.0, 7.0))
    share = torch.tensor([1.0, 2.0, 0.5, 9.0, 9.0, 9.0, 1.0]).reshape(1, -1, 1)
    rest, mass = points.share_bent(bent, share, (0.25, 0.5))
    assert share.flatten().tolist() == [0, -2, 0, 0, 0, 0, 0.5]
    assert rest.tolist() == [[4 + 1 + 101 + 102 + 10]]
    assert mass.tolist() == [4 + 1 + 101 + 102 + 10]


def test_what_was_left_cancels_in_its_sum_but_not_in_its_size() -> None:
    bent = plain([-8.0, -12.0], [0.5, 0.5], (0.0, 1.0, 0.0, 0.0))
    share = torch.zeros(1, 2, 1)
    rest, mass = points.share_bent(bent, share, (0.0, 0.0))
    assert rest.tolist() == [[0]]
    assert mass.tolist() == [4]
    cuts = find_cuts(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    size, beta = torch.tensor([2.0, 0.0, 3.0]).reshape(1, 3, 1), torch.ones(1, 3, 1)
    assert points.finish(bent, share, rest, cuts, size, beta) is None
    torch.testing.assert_close(beta.flatten(), torch.tensor([3.0, 1.0, 1.0]))


def test_a_unit_that_sees_nothing_hands_on_nothing_and_dead_channels_get_exactly_0() -> None:
    bent = plain([0.1, 0.3, -13.7], [0.5, 0.5, 0.5], (0.0, 1.0, 0.0, 0.0))
    share = torch.zeros(1, 3, 1)
    rest, _ = points.share_bent(bent, share, (0.0, 0.0))
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, -0.0, 0.0], [0.0, 0.0, 3.0]])
    size, beta = torch.ones(1, 3, 1), torch.tensor([1.0, 5.0, 1.0]).reshape(1, 3, 1)
    lost = points.finish(bent, share, rest, find_cuts(weight), size, beta)
    assert lost is not None
    torch.testing.assert_close(lost, torch.tensor([10.3]))
    assert float(beta[0, 1, 0]) == 0
    torch.testing.assert_close(beta.flatten(), torch.tensor([1 + 5.05, 0, 1 + 5.05 - 3.7]))


@pytest.mark.parametrize("dead", [0, 3])
def test_numbers_that_are_not_finite_stay_in_their_place(dead: int) -> None:
    case = OverTotals((SPAN + 3,), "relu6", torch.float64)
    case.above[1, 2, SPAN] = torch.nan
    weight = weights("none", 4, 5, torch.float64)
    weight[:, :dead] = 0
    share, beta = case.total.clone(), case.each.clone()
    rest, mass = points.share_bent(case.bent, share, (0.0, 0.5))
    assert mass.isnan().tolist() == [False, True, False]
    assert rest.isnan().nonzero().tolist() == [[1, SPAN]]
    points.finish(case.bent, share, rest, find_cuts(weight), case.size, beta)
    assert beta.isnan().nonzero().tolist() == [[1, c, SPAN] for c in range(dead, 5)]


@pytest.mark.parametrize("kind", ["none", "few", "a row"])
def test_samples_and_spans_are_worked_on_apart(kind: str) -> None:
    case = OverTotals((2, SPAN + 9), "hard tanh", torch.float64)
    cuts = find_cuts(weights(kind, 4, 5, torch.float64))

    def results(n: slice) -> list[Tensor | None]:
        above, grad, y = (t[n] for t in case.bent[:3])
        bent = above, grad, y, *case.bent[3:]
        share, beta = case.total[n].clone(), case.each[n].clone()
        rest, mass = points.share_bent(bent, share, (0.3, 0.1))
        before = rest.clone()
        lost = points.finish(bent, share, rest, cuts, case.size[n], beta)
        return [share, before, mass, beta, lost]

    together = results(slice(None))
    with one_by_one() as rows:
        apart = results(slice(None))
    assert rows == 2 * [3 * 3]
    alone = [results(slice(n, n + 1)) for n in range(3)]
    for one, other, *each in zip(together, apart, *alone, strict=True):
        assert (one is None) == (kind != "a row" and one is together[-1])
        if one is not None:
            assert other is not None
            assert torch.equal(one, other)
            assert torch.equal(one, torch.cat([t for t in each if t is not None]))


def test_bent_streams_and_sizes_may_lie_anywhere_and_need_a_gradient() -> None:
    case = OverTotals((5, 3), "relu6", torch.float64)
    cuts = find_cuts(weights("a row", 4, 5, torch.float64))

    def elsewhere(t: Tensor) -> Tensor:
        return t.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()

    def results(
        bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], size: Tensor
    ) -> list[Tensor | None]:
        share, beta = case.total.clone(), case.each.clone()
        rest, mass = points.share_bent(bent, share, (0.3, 0.1))
        return [share, mass, points.finish(bent, share, rest, cuts, size, beta), beta]

    above, grad, y, shift, bounds = case.bent
    moved = elsewhere(above), elsewhere(grad), elsewhere(y), shift.clone().requires_grad_(), bounds
    wanted, found = results(case.bent, case.size), results(moved, elsewhere(case.size))
    for one, other in zip(wanted, found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
        assert not other.requires_grad
