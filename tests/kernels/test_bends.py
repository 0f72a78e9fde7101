"""Bends between two bounds, plane by plane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import bends
from tests.kernels.values import FORMATS, SHAPES, assert_close, numbers, one_by_one

# Low, high, and what is held at and beyond them.
BENDS = {
    "relu": (0.0, math.inf, 0.0, 0.0),
    "relu6": (0.0, 1.0, 0.0, 1.0),
    "hard tanh": (-0.5, 1.25, -0.5, 1.25),
    "from above": (-math.inf, 0.25, 0.0, 0.25),
    "none": (-math.inf, math.inf, 0.0, 0.0),
}


class Case:
    """Values behind a bend, so that many are exactly at its bounds."""

    def __init__(self, shape: tuple[int, ...], bend: str, dtype: torch.dtype) -> None:
        self.bounds = torch.tensor(BENDS[bend], dtype=dtype)
        low, high, at_low, at_high = BENDS[bend]
        self.y = numbers(*shape, dtype=dtype, seed=1).clamp(low, high)
        self.grad = numbers(*shape, dtype=dtype, seed=2)
        self.beta = numbers(*shape, dtype=dtype, seed=3)
        self.shift = numbers(shape[1], dtype=dtype, seed=4, holes=0.1)
        self.inside = (self.y > low) & (self.y < high)
        self.held = at_low * (self.y <= low).to(dtype) + at_high * (self.y >= high).to(dtype)

    def sums(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], -1).sum(2)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_a_ledger(shape: tuple[int, ...], bend: str, dtype: torch.dtype) -> None:
    case = Case(shape, bend, dtype)
    found = bends.weigh(case.grad, case.y, case.bounds)
    held, passed = case.grad * case.held, case.grad * case.inside
    wanted = [case.sums(v) for v in (held, held.abs(), passed, passed.abs(), 0 * held)]
    assert_close(found, torch.stack(wanted, -1))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", FORMATS)
def test_an_entry_that_is_not_finite_is_seen(value: float, dtype: torch.dtype) -> None:
    y = torch.ones(2, 3, 5, 7, dtype=dtype)
    y[1, 2, 4, 6] = value
    bounds = torch.tensor([0.0, torch.inf, 0.0, 0.0], dtype=dtype)
    last = bends.weigh(torch.ones_like(y), y, bounds)[..., 4]
    assert last.isnan().nonzero().tolist() == [[1, 2]]
    assert int((last == 0).sum()) == 5


@pytest.mark.parametrize("arrives", ["bias", "gradient", "both"])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_bias_goes_on_where_the_bend_passes(
    shape: tuple[int, ...], bend: str, dtype: torch.dtype, arrives: str
) -> None:
    case = Case(shape, bend, dtype)
    beta = None if arrives == "gradient" else case.beta
    grad = None if arrives == "bias" else case.grad
    share, lost = bends.carry(beta, grad, case.y, case.shift, case.bounds)
    stranded = bends.strand(beta, grad, case.y, case.bounds)
    zero = torch.zeros_like(case.y)
    arrived, gradient = (zero if t is None else t for t in (beta, grad))
    shift = case.shift.reshape(-1, *(1,) * (len(shape) - 2))
    left = (arrived + gradient * case.held).where(~case.inside, zero)
    assert_close(share, (arrived + gradient * shift).where(case.inside, zero))
    assert_close(lost, case.sums(left.abs()))
    assert_close(stranded, left)


def test_nothing_cannot_be_carried() -> None:
    case = Case((2, 3), "relu", torch.float32)
    with pytest.raises(ValueError, match="nothing to carry"):
        bends.carry(None, None, case.y, case.shift, case.bounds)


def test_what_is_exactly_at_a_bound_is_held_and_minus_zero_is_zero() -> None:
    y = torch.tensor([[[0.0, -0.0, 1.0, 0.5]]])
    one = torch.ones_like(y)
    bounds = torch.tensor([0.0, 1.0, 0.0, 1.0])
    share, lost = bends.carry(one, one, y, torch.tensor([3.0]), bounds)
    assert share.tolist() == [[[0.0, 0.0, 0.0, 4.0]]]
    assert lost.tolist() == [[4.0]]
    assert bends.strand(one, one, y, bounds).tolist() == [[[1.0, 1.0, 2.0, 0.0]]]


def test_arguments_are_left_alone_and_may_need_a_gradient() -> None:
    case = Case((2, 3, 5), "hard tanh", torch.float64)
    tensors = [case.grad, case.beta, case.y, case.shift]
    before = [t.clone() for t in tensors]
    share, _ = bends.carry(case.beta, case.grad, case.y, case.shift, case.bounds)
    again, _ = bends.carry(
        *(t.clone().requires_grad_() for t in (case.beta, case.grad, case.y)),
        case.shift,
        case.bounds,
    )
    assert torch.equal(share, again)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


GAINS = ["none", "some", "of another format"]


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gradient_goes_back_through_a_bend_and_a_slope(
    shape: tuple[int, ...], bend: str, dtype: torch.dtype, gain: str
) -> None:
    case = Case(shape, bend, dtype)
    slope = None if gain == "none" else numbers(shape[1], dtype=dtype, seed=5)
    if slope is not None and gain == "of another format":
        slope = slope.to(torch.float32 if dtype == torch.float64 else torch.float64)
    before = [t.clone() for t in (case.grad, case.y, case.bounds)]
    below, sums = bends.pass_back(case.grad, case.y, slope, case.bounds)
    assert all(map(torch.equal, before, (case.grad, case.y, case.bounds)))
    each = torch.ones(shape[1], dtype=dtype) if slope is None else slope.to(dtype)
    wanted = case.grad * case.inside * each.reshape(-1, *(1,) * (len(shape) - 2))
    assert torch.equal(below, wanted)
    assert_close(sums, bends.weigh(case.grad, case.y, case.bounds))


def test_a_gradient_may_lie_anywhere_and_need_a_gradient() -> None:
    case = Case((2, 3, 5, 7), "relu6", torch.float64)
    slope = numbers(3, dtype=torch.float64, seed=5)
    wanted, sums = bends.pass_back(case.grad, case.y, slope, case.bounds)
    last = case.grad.movedim(1, -1).contiguous().movedim(-1, 1)
    every = torch.stack([slope, slope], 1)[:, 0]
    found, others = bends.pass_back(last, case.y.clone().requires_grad_(), every, case.bounds)
    assert torch.equal(found, wanted)
    assert torch.equal(others, sums)
    shown = torch.tensor(2.0).double().expand(case.y.shape)
    ones = bends.pass_back(shown, case.y, None, case.bounds)[0]
    assert torch.equal(ones, 2.0 * case.inside)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_going_back_sees_an_entry_that_is_not_finite(value: float) -> None:
    y = torch.ones(2, 3, 5, 7)
    y[1, 2, 4, 6] = value
    bounds = torch.tensor([0.0, torch.inf, 0.0, 0.0])
    below, sums = bends.pass_back(torch.ones_like(y), y, None, bounds)
    assert sums[..., 4].isnan().nonzero().tolist() == [[1, 2]]
    assert float(below[1, 2, 4, 6]) == 0


@pytest.mark.parametrize("least", [(0.0, 0.5), (0.0, 0.0), (0.3, 1e-30), (2.0, 0.5)])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_bias_below_a_bend_over_a_total(
    shape: tuple[int, ...], bend: str, dtype: torch.dtype, least: tuple[float, float]
) -> None:
    case = Case(shape, bend, dtype)
    total = numbers(*shape, dtype=dtype, seed=5).abs()
    bent = case.beta, case.grad, case.y, case.shift, case.bounds
    before = [t.clone() for t in bent]
    given = total.clone()
    quotient, mass, left = bends.share(bent, given, least)
    assert all(map(torch.equal, before, bent))
    assert quotient.data_ptr() == given.data_ptr()
    shift = case.shift.reshape(-1, *(1,) * (len(shape) - 2))
    tau = case.beta + case.grad * torch.where(case.inside, shift, case.held)
    # Products may be added up without rounding them first.
    lives = case.inside & (total > torch.clamp(tau.abs() * least[0], min=least[1]))
    zero = torch.zeros_like(tau)
    assert_close(quotient, torch.where(lives, tau / total, zero))
    wanted = torch.where(lives, zero, tau)
    assert_close(mass, wanted.abs().flatten(1).sum(1))
    assert (left is None) == (not bool(wanted.any()))
    if left is not None:
        assert_close(left, wanted)
        assert torch.equal(left != 0, wanted != 0)


@pytest.mark.parametrize("at", [(0, 0, 0), (1, 2, 6)])
def test_a_single_unit_below_a_bend_without_a_total_is_found(at: tuple[int, int, int]) -> None:
    y, zero = torch.ones(2, 3, 7), torch.zeros(2, 3, 7)
    bent = y, zero, y, torch.zeros(3), torch.tensor([0.0, torch.inf, 0.0, 0.0])
    total = torch.full((2, 3, 7), 2.0)
    quotient, mass, left = bends.share(bent, total.clone(), (0.0, 0.5))
    assert left is None
    assert mass.tolist() == [0, 0]
    assert bool((quotient == 0.5).all())
    total[at] = 0.5
    quotient, mass, left = bends.share(bent, total, (0.0, 0.5))
    assert left is not None
    assert left.nonzero().tolist() == [list(at)]
    assert mass.tolist() == [1.0 * (at[0] == 0), 1.0 * (at[0] == 1)]
    assert float(quotient[at]) == 0


def test_planes_may_be_taken_one_by_one_in_any_order() -> None:
    case = Case((3, 4, 5), "hard tanh", torch.float64)
    slope, total = numbers(4, dtype=torch.float64, seed=5), numbers(3, 4, 5, dtype=torch.float64)
    bent = case.beta, case.grad, case.y, case.shift, case.bounds

    def results() -> list[Tensor | None]:
        back = bends.pass_back(case.grad, case.y, slope, case.bounds)
        return [*back, *bends.share(bent, total.abs(), (0.0, 0.5))]

    together = results()
    with one_by_one() as rows:
        apart = results()
    assert rows == 3 * [12]
    for one, other in zip(together, apart, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
