"""Maps of channels at single places, tile by tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import bends, blas, tiles
from biasmatters.kernels.cuts import find_cuts
from tests.kernels.test_bends import BENDS
from tests.kernels.test_points import KINDS, BentCase, by_loop, weights
from tests.kernels.values import FORMATS, assert_close, numbers

SPACES = [(), (1,), (5, 3), (7, 11), (2, 3, 13)]
LEASTS = [(0.0, 0.0), (0.0, 0.5), (0.3, 1e-30), (2.0, 0.5)]
pytestmark = pytest.mark.skipif(not blas.at_hand(), reason="torch's BLAS cannot be called here")


@pytest.fixture(params=[1 << 19, 64, 8], ids=["whole", "tiles", "small tiles"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How large a tile is; the smallest take a place or two."""
    monkeypatch.setattr(tiles, "ROOM", request.param)
    return int(request.param)


class Case(BentCase):
    """Bias above a bend that is shared out by size, unit by unit in double precision."""

    def __init__(
        self, space: tuple[int, ...], bend: str, dtype: torch.dtype, kind: str = "few"
    ) -> None:
        super().__init__(space, bend, dtype)
        self.weight = weights(kind, 4, 5, dtype)
        self.cuts = find_cuts(self.weight)

    def split(self, least: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor | None]:
        return tiles.split_bent(self.x, self.bent, self.weight.abs(), self.cuts, least)

    def by_loop_over_units(self, least: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
        """What channels get, the size of what went to all, and what no channel takes."""
        size, sizes, tau = self.x.double().abs(), self.weight.double().abs(), self.live + self.held
        total = torch.einsum("pq,nq...->np...", sizes, size)
        enough = total > torch.clamp(least[0] * tau.abs(), min=least[1])
        lives = enough & (self.live == tau)
        share, left = torch.where(lives, tau / total, 0.0), tau.masked_fill(lives, 0)
        extra, orphan = by_loop(self.x.double(), left, self.weight.double(), to_all=True)
        beta = torch.einsum("pq,np...->nq...", sizes, share) * size + extra
        return beta, left.abs().flatten(1).sum(1), (left * orphan).flatten(1).sum(1)


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_bias_below_a_bend_goes_by_size_as_a_loop_over_units_takes_it(
    space: tuple[int, ...], dtype: torch.dtype, bend: str, kind: str
) -> None:
    case = Case(space, bend, dtype, kind)
    given = [case.x, *case.bent, case.weight]
    before = [t.clone() for t in given]
    for least in LEASTS:
        case.assert_handed_out(case.weight, case.split(least), case.by_loop_over_units(least))
    assert all(map(torch.equal, before, given))


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sloped", [True, False])
def test_a_gradient_goes_back_as_by_a_bend_and_a_product(
    space: tuple[int, ...], dtype: torch.dtype, bend: str, sloped: bool
) -> None:
    case = Case(space, bend, dtype)
    gain = numbers(4, dtype=dtype, seed=9) if sloped else None
    bent = case.grad, case.y, gain, case.bounds
    before = [t.clone() for t in (case.grad, case.y)]
    found, sums = tiles.pass_back(bent, case.weight, case.x)
    below, wanted = bends.pass_back(*bent)
    assert_close(found, torch.einsum("pq,np...->nq...", case.weight, below))
    assert_close(sums, wanted)
    assert all(map(torch.equal, before, (case.grad, case.y)))


@pytest.mark.usefixtures("room")
def test_inputs_that_are_known_to_be_positive_are_taken_as_they_are() -> None:
    case = Case((7, 11), "relu6", torch.float64)
    case.x = case.x.abs()
    wanted = case.split((0.3, 0.1))
    given = case.x, case.bent, case.weight.abs(), case.cuts, (0.3, 0.1)
    found = tiles.split_bent(*given, positive=True)
    torch.testing.assert_close(found, wanted)


def at_one_place(
    beta: list[float], y: list[float], bounds: tuple[float, ...]
) -> tuple[Tensor, ...]:
    """Units with a gradient of 1 and a constant of 10."""
    above, value = (torch.tensor(v).reshape(1, -1, 1) for v in (beta, y))
    constant = torch.full((len(y),), 10.0)
    return above, torch.ones_like(above), value, constant, torch.tensor(bounds)


def test_a_total_just_at_its_least_and_a_value_just_at_a_bound_count_as_none() -> None:
    totals = torch.tensor([1.0, 2.0, 0.5, 9.0, 9.0, 9.0, 1.0])
    beta, y = [-6.0, -14.0, -9.0, 1.0, 2.0, 3.0, -9.5], [0.5, 0.5, 0.5, 0.0, -0.0, 1.0, 0.5]
    bent = at_one_place(beta, y, (0.0, 1.0, 100.0, 7.0))
    # Each unit sees an input of its own, which is its total, so that all of its share goes there.
    x, eye = totals.reshape(1, -1, 1), torch.eye(7)
    found, mass, lost = tiles.split_bent(x, bent, eye, find_cuts(eye), (0.25, 0.5))
    assert lost is None
    assert mass.tolist() == [4 + 1 + 101 + 102 + 10]
    assert found.flatten().tolist() == [4, -4, 1, 101, 102, 10, 0.5]


def test_what_is_left_cancels_in_its_sum_but_not_in_its_size() -> None:
    above, grad, value, shift, bounds = at_one_place(
        [-8.0, -12.0], [0.5, 0.5], (0.0, 1.0, 0.0, 0.0)
    )
    weight = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    bent = above, grad, value, shift, bounds
    found, mass, lost = tiles.split_bent(
        torch.zeros(1, 3, 1), bent, weight, find_cuts(weight), (0.0, 0.0)
    )
    assert mass.tolist() == [4]
    assert lost is None
    torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 1.0, -2.0]))


def test_a_unit_that_sees_nothing_hands_on_nothing_and_dead_channels_get_exactly_0() -> None:
    bent = at_one_place([0.1, 0.3, -13.7], [0.5, 0.5, 0.5], (0.0, 1.0, 0.0, 0.0))
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, -0.0, 0.0], [0.0, 0.0, 3.0]])
    found, _, lost = tiles.split_bent(
        torch.zeros(1, 3, 1), bent, weight.abs(), find_cuts(weight), (0.0, 0.0)
    )
    assert lost is not None
    torch.testing.assert_close(lost, torch.tensor([10.3]))
    assert float(found[0, 1, 0]) == 0
    torch.testing.assert_close(found.flatten(), torch.tensor([5.05, 0, 5.05 - 3.7]))


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dead", [0, 3])
def test_numbers_that_are_not_finite_stay_in_their_place(dead: int) -> None:
    case = Case((40,), "relu6", torch.float64, "none")
    case.y[:] = 0.5
    case.above[1, 2, 17] = torch.nan
    case.weight[:, :dead] = 0
    case.cuts = find_cuts(case.weight)
    found, mass, _ = case.split((0.0, 1e-30))
    assert mass.isnan().tolist() == [False, True, False]
    assert found.isnan().nonzero().tolist() == [[1, c, 17] for c in range(dead, 5)]
    case.grad[1, 2, 17] = torch.nan
    below, sums = tiles.pass_back((case.grad, case.y, None, case.bounds), case.weight, case.x)
    assert below.isnan().nonzero()[:, [0, 2]].unique(dim=0).tolist() == [[1, 17]]
    assert sums.isnan().any(2).nonzero().tolist() == [[1, 2]]
    case.y[2, 3, 21] = torch.inf
    sums = tiles.pass_back((case.above, case.y, None, case.bounds), case.weight, case.x)[1]
    assert sums[..., 4].isnan().nonzero().tolist() == [[2, 3]]


@pytest.mark.usefixtures("room")
def test_what_is_left_beside_a_nan_goes_where_it_does_without() -> None:
    case = Case((40,), "hard tanh", torch.float64, "few")
    wanted, size, _ = case.split((0.3, 0.1))
    assert bool((size > 0).all())
    case.above[1, 2, 17] = torch.nan
    found, _, _ = case.split((0.3, 0.1))
    beside = torch.arange(40) != 17
    torch.testing.assert_close(found[..., beside], wanted[..., beside])
    assert bool(found[1, :, 17].isnan().any())


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("kind", ["none", "few", "a row"])
def test_samples_are_worked_on_apart(kind: str) -> None:
    case = Case((6, 9), "hard tanh", torch.float64, kind)
    beta, mass, lost = case.split((0.3, 0.1))
    assert (lost is None) == (kind != "a row")
    for n in range(3):
        above, grad, y = (t[n : n + 1] for t in case.bent[:3])
        bent = above, grad, y, *case.bent[3:]
        one = tiles.split_bent(case.x[n : n + 1], bent, case.weight.abs(), case.cuts, (0.3, 0.1))
        torch.testing.assert_close(one[0][0], beta[n])
        torch.testing.assert_close(one[1], mass[n : n + 1])
        if lost is not None:
            assert one[2] is not None
            torch.testing.assert_close(one[2], lost[n : n + 1])


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("space", [(5, 3), (15,)])
def test_streams_may_lie_anywhere_and_need_a_gradient(space: tuple[int, ...]) -> None:
    case = Case(space, "relu6", torch.float64, "a row")

    def elsewhere(t: Tensor) -> Tensor:
        return t.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()

    wanted = case.split((0.3, 0.1))
    back = tiles.pass_back((case.grad, case.y, case.shift, case.bounds), case.weight, case.x)
    above, grad, y, shift, bounds = case.bent
    case.above, case.grad, case.y = map(elsewhere, (above, grad, y))
    case.shift, case.x = shift.clone().requires_grad_(), elsewhere(case.x)
    found = tiles.split_bent(
        case.x,
        case.bent,
        case.weight.abs().T.contiguous().T.requires_grad_(),
        case.cuts,
        (0.3, 0.1),
    )
    torch.testing.assert_close(found, wanted)
    assert not found[0].requires_grad
    bent = case.grad, case.y, case.shift, bounds
    torch.testing.assert_close(tiles.pass_back(bent, case.weight.T.contiguous().T, case.x), back)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("places", [1, 31, 64, 100, 1000])
@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize("channels", [8, 16])
def test_tiles_cover_all_places_and_are_enough_for_all_threads(
    channels: int, samples: int, places: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(tiles, "ROOM", 4000)
    like = torch.empty(samples, 24 - channels, places).numpy()
    count, span = tiles._tiles(like, channels)
    assert (count - 1) * span < places <= count * span
    assert 16 * span <= 4000
    busy = min(threads, samples * (places // tiles.FEW))
    assert samples * count >= min(busy, threads)


def test_large_weights_are_left_to_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MANY", 12)
    assert tiles.fit(torch.ones(11, 1))
    assert not tiles.fit(torch.ones(3, 4))
    monkeypatch.setattr(blas, "at_hand", lambda: False)
    assert not tiles.fit(torch.ones(11, 1))
