"""Depthwise convolutions, plane by plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.kernels import bends, windows
from biasmatters.kernels.window_plan import fits
from biasmatters.kernels.windows import SPAN, Sizes
from tests.kernels.geometry import Pair, Windows
from tests.kernels.test_bends import BENDS, GAINS
from tests.kernels.values import FORMATS, assert_close, numbers, one_by_one

SIZES: tuple[Sizes, ...] = ("size", "presence", "everything")
NO_LEAST = (0.0, 0.0)
COUNTED = (0.0, 0.5)


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Geometry(Windows):
    """A depthwise convolution, by torch's operations alone, in double precision."""

    def convolve(self, values: Tensor, taps: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.padding
        padded = F.pad(values.double(), (left, right, top, bottom))
        return F.conv2d(padded, taps.double(), None, self.stride, 0, self.dilation, values.shape[1])

    def transpose(self, tau: Tensor, taps: Tensor, like: Tensor) -> Tensor:
        x = torch.zeros(like.shape, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(self.convolve(x, taps), x, tau.double())[0]

    @property
    def outputs(self) -> Pair:
        shape = self.convolve(torch.zeros(1, 1, *self.space), torch.zeros(1, 1, *self.kernel)).shape
        return shape[2], shape[3]

    @property
    def fits(self) -> bool:
        """Whether windows begin within their own rows, as the kernels ask for."""
        return (self.outputs[1] - 1) * self.stride[1] < self.space[1]

    @property
    def how(self) -> tuple[tuple[Pair, Pair], Pair, Pair]:
        return self.padding, self.dilation, self.stride


def around(n: int) -> tuple[Pair, Pair]:
    return (n, n), (n, n)


GEOMETRIES = {
    "a point": Geometry((5, 4), (1, 1)),
    "a point with strides": Geometry((5, 7), (1, 1), stride=(2, 3)),
    "a point with strides and padding": Geometry((5, 4), (1, 1), around(1), stride=(3, 2)),
    "two": Geometry((5, 4), (2, 2)),
    "three": Geometry((5, 6), (3, 3), around(1)),
    "three, stride 2": Geometry((7, 8), (3, 3), around(1), stride=(2, 2)),
    "three, stride 3": Geometry((8, 8), (3, 3), stride=(3, 3)),
    "strides that skip inputs": Geometry((9, 11), (2, 2), stride=(3, 4)),
    "four": Geometry((6, 7), (4, 4), ((1, 2), (2, 1))),
    "five": Geometry((9, 8), (5, 5), around(2)),
    "five, stride 2": Geometry((9, 8), (5, 5), around(2), stride=(2, 2)),
    "a row": Geometry((4, 9), (1, 5), ((0, 0), (2, 2))),
    "a column": Geometry((9, 4), (5, 1), ((2, 2), (0, 0))),
    "uneven": Geometry((6, 9), (2, 3), ((1, 0), (0, 2)), (2, 1), (1, 2)),
    "uneven the other way": Geometry((9, 6), (4, 1), ((0, 3), (1, 0)), (1, 1), (2, 3)),
    "dilated": Geometry((9, 9), (3, 3), around(2), (2, 2)),
    "dilated unevenly": Geometry((9, 11), (3, 2), ((3, 1), (0, 4)), (3, 4), (2, 1)),
    "padding on one side": Geometry((5, 5), (3, 3), ((0, 1), (1, 0)), stride=(2, 2)),
    "windows in the padding alone": Geometry((3, 3), (2, 2), around(4)),
    "one input": Geometry((1, 1), (1, 1)),
    "one input in the middle": Geometry((1, 1), (3, 3), around(1)),
    "one input, wide apart": Geometry((1, 1), (3, 3), around(2), (2, 2)),
    "one row": Geometry((1, 7), (3, 3), around(1)),
    "one column, stride 2": Geometry((7, 1), (3, 3), around(1), stride=(2, 2)),
    "smaller than the kernel": Geometry((2, 3), (5, 5), around(2)),
    "smaller than the kernel, one output": Geometry((2, 3), (5, 4), ((1, 2), (0, 1))),
    "smaller than the reach": Geometry((3, 2), (3, 3), around(3), (3, 3)),
    "stride beyond the plane": Geometry((3, 3), (3, 3), around(1), stride=(4, 4)),
}
LARGE = {
    "larger than a span": Geometry((61, 53), (3, 3), around(1)),
    "larger than a span, stride 2": Geometry((61, 53), (5, 3), ((2, 1), (0, 1)), stride=(2, 2)),
    "many taps": Geometry((13, 11), (5, 5), around(2)),
    "many taps, stride 2": Geometry((13, 12), (5, 5), around(2), stride=(2, 2)),
    "many taps, uneven": Geometry((12, 14), (4, 5), ((1, 2), (3, 0)), (2, 1), (1, 2)),
    "many taps, dilated": Geometry((15, 13), (5, 4), around(4), (2, 3), (3, 1)),
    "many taps, few rows": Geometry((2, 70), (5, 5), around(2)),
    "many taps, few columns": Geometry((70, 2), (5, 5), around(2)),
    "many taps in a row": Geometry((6, 40), (1, 17), ((0, 0), (8, 8))),
    "many taps in a column": Geometry((40, 6), (17, 1), ((9, 3), (0, 0)), stride=(2, 1)),
    "many taps, many places": Geometry((61, 53), (5, 5), around(2), stride=(1, 2)),
    "as large as a span": Geometry((SPAN // 64, 64), (1, 1)),
    "an output more than a span": Geometry((1, SPAN + 1), (1, 1)),
    "a row of two spans": Geometry((1, 2 * SPAN + 3), (1, 3), ((0, 0), (1, 1)), (1, 1), (1, 2)),
}
FITTING = {name: made for name, made in {**GEOMETRIES, **LARGE}.items() if made.fits}


@dataclass
class Case:
    """Numbers for a geometry: two samples of four channels, of which some are special.

    Channel 1 has no taps, channel 2 some, and channel 3 no bias in the first sample and no inputs
    in the second.
    """

    geometry: Geometry
    dtype: torch.dtype

    def __post_init__(self) -> None:
        made, dtype = self.geometry, self.dtype
        self.x = numbers(2, 4, *made.space, dtype=dtype, seed=1)
        self.x[1, 3] = -0.0
        self.tau = numbers(2, 4, *made.outputs, dtype=dtype, seed=2, holes=0.1)
        self.tau[0, 3] = 0
        self.signed = numbers(4, 1, *made.kernel, dtype=dtype, seed=3, holes=0.0)
        self.signed[1] = 0
        self.signed[2] *= numbers(1, *made.kernel, dtype=dtype, seed=4, holes=0.5) != 0
        self.taps = self.signed.abs()

    def size(self, sizes: Sizes) -> Tensor:
        made = {"size": self.x.abs(), "presence": self.x != 0, "everything": self.x == self.x}
        return made[sizes].double()

    def split(
        self, tau: Tensor, taps: Tensor, size: Tensor, least: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """What inputs get, and what has none."""
        total = self.geometry.convolve(size, taps)
        lives = total > torch.clamp(least[0] * tau.double().abs(), min=least[1])
        share = torch.where(lives, tau / total, 0.0)
        beta = size * self.geometry.transpose(share, taps, self.x)
        return beta, tau.double().masked_fill(lives, 0)


def check_split(case: Case, sizes: Sizes, least: tuple[float, float], *, counted: bool) -> bool:
    """Whether some bias had no input."""
    taps = (case.taps != 0).to(case.dtype) if counted else case.taps
    before = [t.clone() for t in (case.x, case.tau, taps)]
    beta, lost = windows.split(case.x, case.tau, taps, *case.geometry.how, sizes, least)
    assert all(map(torch.equal, before, (case.x, case.tau, taps)))
    wanted, left = case.split(case.tau, taps, case.size(sizes), least)
    assert_close(beta, wanted.to(case.dtype))
    assert (lost is None) == (not bool(left.any()))
    if lost is not None:
        assert torch.equal(lost, left.to(case.dtype))
    back = beta.double().sum((1, 2, 3)) + (0 if lost is None else lost.double().sum((1, 2, 3)))
    assert_close(back.to(case.dtype), case.tau.double().sum((1, 2, 3)).to(case.dtype))
    return lost is not None


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("geometry", FITTING)
def test_shares_are_those_of_convolutions(geometry: str, dtype: torch.dtype) -> None:
    case = Case(FITTING[geometry], dtype)
    for sizes in SIZES:
        assert check_split(case, sizes, NO_LEAST, counted=False)
        assert check_split(case, sizes, COUNTED, counted=True)
        check_split(case, sizes, (0.3, 0.1), counted=False)


def test_what_kernels_cannot_take_is_said() -> None:
    for made in {**GEOMETRIES, **LARGE}.values():
        found = fits(made.space, made.outputs, made.stride, made.padding)
        assert found == made.fits
    assert {name for name, made in GEOMETRIES.items() if not made.fits} == {
        "a point with strides and padding",
        "uneven the other way",
        "windows in the padding alone",
    }
    assert not fits((5, 5), (3, 3), (1, 1), ((-1, 0), (0, 0)))
    assert not fits((5, 5), (3, 3), (1, 1), ((0, 0), (0, -1)))


@pytest.mark.parametrize("geometry", FITTING)
def test_where_every_unit_sees_an_input_nothing_is_lost(geometry: str) -> None:
    case = Case(FITTING[geometry], torch.float64)
    case.taps, case.x = torch.ones_like(case.taps), torch.ones_like(case.x)
    assert float(case.geometry.convolve(case.x, case.taps).amin()) > 0.5
    for sizes in SIZES:
        assert not check_split(case, sizes, COUNTED, counted=True)


def test_samples_have_kernels_by_their_channel() -> None:
    """Sample 2 begins with the first kernel again."""
    x, tau = torch.ones(3, 2, 1, 2), torch.ones(3, 2, 1, 1)
    taps = torch.tensor([[1.0, 3.0], [3.0, 1.0]]).reshape(2, 1, 1, 2)
    how = ((0, 0), (0, 0)), (1, 1), (1, 1)
    beta, lost = windows.split(x, tau, taps, *how, "size", NO_LEAST)
    assert lost is None
    assert beta[:, 0].flatten(1).tolist() == 3 * [[0.25, 0.75]]
    assert beta[:, 1].flatten(1).tolist() == 3 * [[0.75, 0.25]]


def test_only_the_planes_without_inputs_lose() -> None:
    """Whatever lies in memory where nothing was lost, 0 is shown."""
    x = torch.ones(2, 3, 4, 4)
    x[1, 1, :2, :2] = 0
    tau = torch.arange(1.0, 2 * 3 * 9 + 1).reshape(2, 3, 3, 3)
    how = ((0, 0), (0, 0)), (1, 1), (1, 1)
    taps = torch.ones(3, 1, 2, 2)
    for _ in range(5):
        torch.full((2, 3, 3, 3), torch.nan)  # what memory may hold
        _, lost = windows.split(x, tau, taps, *how, "presence", COUNTED)
        assert lost is not None
        assert lost.nonzero().tolist() == [[1, 1, 0, 0]]
        assert float(lost.sum()) == float(tau[1, 1, 0, 0])


def test_a_total_just_at_its_least_counts_as_none() -> None:
    x, tau = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([4.0, -4.0, 1.0])
    how = ((0, 0), (0, 0)), (1, 1), (1, 1)
    x, tau = x.reshape(1, 1, 1, 3), tau.reshape(1, 1, 1, 3)
    beta, lost = windows.split(x, tau, torch.ones(1, 1, 1, 1), *how, "size", (0.25, 0.5))
    assert beta.flatten().tolist() == [0, -4, 0]
    assert lost is not None
    assert lost.flatten().tolist() == [4, 0, 1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_stay_in_their_plane(value: float) -> None:
    x, tau = torch.ones(2, 2, 5, 5), torch.ones(2, 2, 5, 5)
    tau[0, 1, 2, 2] = value
    how = around(1), (1, 1), (1, 1)
    beta, _ = windows.split(x, tau, torch.ones(2, 1, 3, 3), *how, "size", NO_LEAST)
    clean = beta.isfinite().flatten(2).all(2)
    assert clean.tolist() == [[True, False], [True, True]]
    out = windows.spread(tau, torch.ones(2, 1, 3, 3), x, *how)
    assert out.isfinite().flatten(2).all(2).tolist() == [[True, False], [True, True]]
    assert bool(out[0, 1, 0, 0].isfinite())


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("geometry", FITTING)
def test_the_transpose_is_autograds(geometry: str, dtype: torch.dtype) -> None:
    case = Case(FITTING[geometry], dtype)
    before = case.tau.clone(), case.signed.clone()
    out = windows.spread(case.tau, case.signed, case.x, *case.geometry.how)
    assert all(map(torch.equal, before, (case.tau, case.signed)))
    assert_close(out, case.geometry.transpose(case.tau, case.signed, case.x).to(dtype))
    assert not out[:, 1].any()


def test_arguments_may_need_a_gradient_and_lie_anywhere() -> None:
    case = Case(GEOMETRIES["uneven"], torch.float64)
    how = case.geometry.how
    wanted = windows.spread(case.tau, case.signed, case.x, *how)
    scattered = case.signed.movedim(1, -1).contiguous().movedim(-1, 1)
    leaf = case.tau.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    found = windows.spread(leaf, scattered.requires_grad_(), case.x, *how)
    assert torch.equal(found, wanted)
    assert not found.requires_grad
    beta, lost = windows.split(case.x, case.tau, case.taps, *how, "size", NO_LEAST)
    leaves = [t.clone().requires_grad_() for t in (case.x, case.tau, case.taps)]
    again, left = windows.split(*leaves, *how, "size", NO_LEAST)
    assert torch.equal(beta, again)
    assert lost is not None
    assert left is not None
    assert torch.equal(lost, left)


class BentCase(Case):
    """Bias above a bend: the third sample has nothing live, the fourth nothing that is held."""

    def __init__(self, geometry: Geometry, dtype: torch.dtype, bend: str) -> None:
        super().__init__(geometry, dtype)
        low, high, at_low, at_high = BENDS[bend]
        self.x = numbers(4, 4, *geometry.space, dtype=dtype, seed=1)
        self.x[1, 3] = -0.0
        shape = (4, 4, *geometry.outputs)
        self.y = numbers(*shape, dtype=dtype, seed=5).clamp(low, high)
        self.y[2] = low if math.isfinite(low) else high
        self.y[3] = 0.2
        self.grad = numbers(*shape, dtype=dtype, seed=6)
        self.above = numbers(*shape, dtype=dtype, seed=7)
        self.grad[0, 3] = self.above[0, 3] = 0
        self.shift = numbers(4, dtype=dtype, seed=8, holes=0.0)
        self.bounds = torch.tensor(BENDS[bend], dtype=dtype)
        inside = (self.y > low) & (self.y < high)
        at = at_low * (self.y <= low).double() + at_high * (self.y >= high).double()
        amount = torch.where(inside, self.shift.double().reshape(-1, 1, 1), at)
        total = self.above.double() + self.grad.double() * amount
        self.live, self.held = total * inside, total * ~inside

    @property
    def bent(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.above, self.grad, self.y, self.shift, self.bounds

    def split_bent(
        self, taps: Tensor, sizes: Sizes, least: tuple[float, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta, left = self.split(self.live, taps, self.size(sizes), least)
        mass = (self.held.abs() + left.abs()).sum((1, 2, 3))
        extra, orphans = self.split(self.held + left, taps != 0, self.size("everything"), COUNTED)
        return beta + extra, mass, orphans.sum((1, 2, 3))


class BackCase(BentCase):
    """A gradient above a bend and a slope; all values are finite."""

    def __init__(self, geometry: Geometry, dtype: torch.dtype, bend: str) -> None:
        super().__init__(geometry, dtype, bend)
        self.y[self.y.isinf()] = 0.2

    def behind(self, gain: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """As a gradient goes back through the bend and a slope of a kind."""
        slope = None if gain == "none" else numbers(4, dtype=self.y.dtype, seed=9)
        if slope is not None and gain == "of another format":
            slope = slope.to(torch.float32 if slope.dtype == torch.float64 else torch.float64)
        return self.grad, self.y, slope, self.bounds


BENT = [
    "a point with strides",
    "three",
    "three, stride 2",
    "strides that skip inputs",
    "uneven",
    "dilated unevenly",
    "one input in the middle",
    "one row",
    "smaller than the reach",
    "larger than a span",
    "larger than a span, stride 2",
    "many taps",
    "many taps, uneven",
    "many taps, dilated",
    "many taps, few columns",
]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("geometry", BENT)
def test_bias_below_a_bend(geometry: str, bend: str, dtype: torch.dtype) -> None:
    case = BentCase(FITTING[geometry], dtype, bend)
    given = [case.x, *case.bent, case.taps]
    before = [t.clone() for t in given]
    kinds: list[tuple[Tensor, Sizes, tuple[float, float]]] = [
        (case.taps, "size", NO_LEAST),
        ((case.taps != 0).to(dtype), "presence", COUNTED),
        (case.taps, "everything", (0.3, 0.1)),
    ]
    for taps, sizes, least in kinds:
        beta, mass, orphans = windows.split_bent(
            case.x, case.bent, taps, *case.geometry.how, sizes, least
        )
        wanted, size, lost = case.split_bent(taps, sizes, least)
        assert_close(beta, wanted.to(dtype))
        assert_close(mass, size.to(dtype))
        assert orphans is not None  # of the channel without taps
        assert_close(orphans, lost.to(dtype))
        whole = (case.live + case.held).sum((1, 2, 3)).to(dtype)
        assert_close(beta.sum((1, 2, 3)) + orphans, whole)
    assert all(map(torch.equal, before, given))


def test_where_every_unit_has_inputs_there_are_no_orphans() -> None:
    case = BentCase(GEOMETRIES["three, stride 2"], torch.float64, "relu6")
    taps = torch.ones_like(case.taps)
    taps[2, 0, 0, 0] = 0  # in no window alone
    beta, mass, orphans = windows.split_bent(
        case.x, case.bent, taps, *case.geometry.how, "presence", COUNTED
    )
    wanted, size, lost = case.split_bent(taps, "presence", COUNTED)
    assert not lost.any()
    assert orphans is None
    assert_close(beta, wanted)
    assert_close(mass, size)


def test_orphans_that_cancel_are_told_by_their_size() -> None:
    x, y = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    above = torch.tensor([1.0, -1.0, 2.0, -2.0]).reshape(1, 1, 2, 2)
    bounds = torch.tensor([0.0, torch.inf, 0, 0])
    bent = above, torch.zeros_like(y), y, torch.zeros(1), bounds
    how = ((0, 0), (0, 0)), (1, 1), (1, 1)
    beta, mass, orphans = windows.split_bent(
        x, bent, torch.zeros(1, 1, 1, 1), *how, "size", NO_LEAST
    )
    assert not beta.any()
    assert mass.tolist() == [6]
    assert orphans is not None
    assert orphans.tolist() == [0]


def test_mass_and_orphans_are_those_of_each_sample() -> None:
    """Sample by sample as together."""
    case = BentCase(GEOMETRIES["uneven"], torch.float64, "hard tanh")
    how = case.geometry.how
    beta, mass, orphans = windows.split_bent(case.x, case.bent, case.taps, *how, "size", NO_LEAST)
    assert orphans is not None
    assert len(set(mass.tolist())) == 4
    for n in range(4):
        above, grad, y = (t[n : n + 1] for t in case.bent[:3])
        alone = windows.split_bent(
            case.x[n : n + 1],
            (above, grad, y, case.shift, case.bounds),
            case.taps,
            *how,
            "size",
            NO_LEAST,
        )
        assert torch.equal(alone[0][0], beta[n])
        assert_close(alone[1], mass[n : n + 1])
        assert alone[2] is not None
        assert_close(alone[2], orphans[n : n + 1])


@pytest.mark.parametrize("bend", BENDS)
def test_planes_may_be_taken_one_by_one_in_any_order(bend: str) -> None:
    case = BackCase(GEOMETRIES["uneven"], torch.float64, bend)
    how = case.geometry.how
    shape = case.x.shape

    def results() -> list[Tensor | None]:
        back = windows.spread(case.grad, case.signed, case.x, *how)
        split = windows.split(case.x, case.grad, case.taps, *how, "size", NO_LEAST)
        bent = windows.split_bent(case.x, case.bent, case.taps, *how, "size", NO_LEAST)
        above = windows.spread_bent(case.behind("some"), case.signed, case.x, *how)
        return [back, *split, *bent, *above]

    together = results()
    with one_by_one() as rows:
        apart = results()
    assert rows == 4 * [shape[0] * shape[1]]
    for one, other in zip(together, apart, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("geometry", BENT)
def test_a_gradient_above_a_bend_goes_back_as_in_two_steps(
    geometry: str, bend: str, dtype: torch.dtype
) -> None:
    case = BackCase(FITTING[geometry], dtype, bend)
    low, high, at_low, at_high = BENDS[bend]
    inside = (case.y > low) & (case.y < high)
    held = at_low * (case.y <= low).double() + at_high * (case.y >= high).double()
    for gain in GAINS:
        behind = case.behind(gain)
        given = [t for t in (*behind, case.signed) if t is not None]
        before = [t.clone() for t in given]
        out, sums = windows.spread_bent(behind, case.signed, case.x, *case.geometry.how)
        assert all(map(torch.equal, before, given))
        below, others = bends.pass_back(*behind)
        assert_close(out, windows.spread(below, case.signed, case.x, *case.geometry.how))
        assert_close(sums, others)
        slope = torch.ones(4) if behind[2] is None else behind[2].to(dtype)
        passed, kept = case.grad.double() * inside, case.grad.double() * held
        tau = passed * slope.double().reshape(-1, 1, 1)
        assert_close(out, case.geometry.transpose(tau, case.signed, case.x).to(dtype))
        ledger = [kept, kept.abs(), passed, passed.abs(), 0 * kept]
        assert_close(sums, torch.stack([t.sum((2, 3)) for t in ledger], -1).to(dtype))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
def test_above_a_bend_an_entry_that_is_not_finite_is_seen(
    bend: str, dtype: torch.dtype, value: float
) -> None:
    case = BackCase(GEOMETRIES["three, stride 2"], dtype, bend)
    clean = case.y.clone()
    case.y[1, 2, -1, -1] = value
    how = case.geometry.how
    out, sums = windows.spread_bent(case.behind("some"), case.signed, case.x, *how)
    assert sums[..., 4].isnan().nonzero().tolist() == [[1, 2]]
    assert not sums[..., 4].nan_to_num().any()
    below, _ = bends.pass_back(*case.behind("some"))
    assert_close(out, windows.spread(below, case.signed, case.x, *how))
    case.y = clean
    others = windows.spread_bent(case.behind("some"), case.signed, case.x, *how)
    touched = torch.zeros(4, 4, dtype=torch.bool)
    touched[1, 2] = True
    assert torch.equal(out[~touched], others[0][~touched])
    assert torch.equal(sums[~touched], others[1][~touched])


def test_what_lies_exactly_at_a_bound_sends_nothing_back() -> None:
    y = torch.tensor([0.0, -0.0, 1.0, 0.5]).reshape(1, 1, 1, 4)
    bounds, one = torch.tensor([0.0, 1.0, 0.25, 3.0]), torch.ones(1, 1, 1, 1)
    how = ((0, 0), (0, 0)), (1, 1), (1, 1)
    behind = torch.ones_like(y), y, torch.tensor([-2.0]), bounds
    out, sums = windows.spread_bent(behind, 3 * one, y, *how)
    assert out.flatten().tolist() == [0, 0, 0, -6]
    assert sums.flatten().tolist() == [3.5, 3.5, 1, 1, 0]


def test_a_gradient_above_a_bend_may_lie_anywhere_and_need_a_gradient() -> None:
    case = BackCase(GEOMETRIES["uneven"], torch.float64, "hard tanh")
    how = case.geometry.how
    grad, y, gain, bounds = case.behind("some")
    assert gain is not None
    wanted = windows.spread_bent((grad, y, gain, bounds), case.signed, case.x, *how)
    last = grad.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    every = torch.stack([gain, gain], 1)[:, 0].requires_grad_()
    taps = case.signed.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    behind = last, y.clone().requires_grad_(), every, bounds
    found = windows.spread_bent(behind, taps, case.x, *how)
    assert all(map(torch.equal, found, wanted))
    assert not any(t.requires_grad for t in found)
    shown = torch.tensor(2.0).double().expand(y.shape)
    out, sums = windows.spread_bent((shown, y, None, bounds), case.signed, case.x, *how)
    again = windows.spread_bent((shown.clone(), y, None, bounds), case.signed, case.x, *how)
    assert torch.equal(out, again[0])
    assert torch.equal(sums, again[1])
