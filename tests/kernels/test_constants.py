"""Constants per channel: what they come to by numpy is what torch has them come to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from biasmatters.kernels.constants import compose, weigh
from tests.kernels.values import FORMATS, assert_close, numbers

Law = tuple[Tensor | None, Tensor | None]

PATTERNS = ["", "a", "b", "ab", "-", "ab ab", "a b", "b a", "b - b", "ab a b ab", "a a", "- ab b"]
CHANNELS = 5


def drawn(pattern: str, dtype: torch.dtype) -> list[Law]:
    """A slope where there is an a, a shift where there is a b; the last operation first."""
    return [
        (
            numbers(CHANNELS, dtype=dtype, seed=2 * i) if "a" in part else None,
            numbers(CHANNELS, dtype=dtype, seed=2 * i + 1) if "b" in part else None,
        )
        for i, part in enumerate(pattern.split())
    ]


def run(laws: Sequence[Law], z: Tensor) -> Tensor:
    """One behind the other, from the first on."""
    for slope, shift in reversed(laws):
        z = z if slope is None else z * slope
        z = z if shift is None else z + shift
    return z


def alone(laws: Sequence[Law], place: int) -> list[Law]:
    """With one shift only."""
    return [(slope, shift if i == place else None) for i, (slope, shift) in enumerate(laws)]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_operations_one_behind_the_other(pattern: str, dtype: torch.dtype) -> None:
    laws, zero = drawn(pattern, dtype), torch.zeros(CHANNELS, dtype=dtype)
    shifts, shift, gain = compose(laws, torch.empty(2, CHANNELS, 3, dtype=dtype))
    assert_close(shift, shifts.sum(0))
    places = [i for i, (_, shift) in enumerate(laws) if shift is not None]
    wanted = [run(alone(laws, i), zero) for i in places]
    assert_close(shifts, torch.stack(wanted) if wanted else torch.empty(0, CHANNELS, dtype=dtype))
    assert (gain is None) == ("a" not in pattern)
    z = numbers(CHANNELS, dtype=dtype, seed=99)
    assert_close((z if gain is None else z * gain) + shifts.sum(0), run(laws, z))


@pytest.mark.parametrize("like", FORMATS)
@pytest.mark.parametrize("given", [*FORMATS, torch.float16, torch.bfloat16])
def test_the_format_is_that_of_the_output(given: torch.dtype, like: torch.dtype) -> None:
    laws = [
        (None if slope is None else slope.to(given), None if shift is None else shift.to(given))
        for slope, shift in drawn("ab b ab", torch.float64)
    ]
    before = [t.clone() for law in laws for t in law if t is not None]
    shifts, together, gain = compose(laws, torch.empty(1, CHANNELS, dtype=like))
    assert gain is not None
    assert shifts.dtype == together.dtype == gain.dtype == like
    exact = [tuple(None if t is None else t.to(like) for t in law) for law in laws]
    assert torch.equal(gain, compose(exact, torch.empty(1, CHANNELS, dtype=like))[2])
    after = [t for law in laws for t in law if t is not None]
    assert all(map(torch.equal, before, after))


def test_a_single_finite_shift_is_no_copy_and_an_infinite_one_stays_what_it_is() -> None:
    like, shift = torch.empty(1, CHANNELS), torch.randn(CHANNELS)
    shifts, together, _ = compose([(torch.full((CHANNELS,), 2.0), shift)], like)
    assert shifts.data_ptr() == together.data_ptr() == shift.data_ptr()
    before = shift.clone()
    before[2] = shift[2] = torch.inf
    shifts, together, _ = compose([(None, shift)], like)
    assert torch.equal(shift, before)
    assert float(shifts[0, 2]) == float(together[2]) == 0


@pytest.mark.parametrize("dtype", FORMATS)
def test_infinities_count_as_0(dtype: torch.dtype) -> None:
    inf, most = torch.inf, torch.finfo(dtype).max
    shift = torch.tensor([inf, -inf, most, -most, 1.0], dtype=dtype)
    slope = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0], dtype=dtype)
    shifts, together, gain = compose(
        [(slope, None), (None, shift)], torch.empty(1, CHANNELS, dtype=dtype)
    )
    assert shifts.tolist() == [together.tolist()] == [[0, 0, 0, 0, 2]]
    assert gain is not None
    assert gain.tolist() == [2] * 5
    assert shift.isinf().sum() == 2


def test_what_is_too_large_for_the_format_counts_as_0() -> None:
    shift = torch.tensor([1e300, -1e300, 0.5, 0.0, -0.0], dtype=torch.float64)
    shifts, _, _ = compose([(None, shift)], torch.empty(1, CHANNELS))
    assert shifts.tolist() == [[0, 0, 0.5, 0, 0]]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("samples", [1, 4])
def test_what_constants_put_in(samples: int, count: int, dtype: torch.dtype) -> None:
    sums = numbers(samples, CHANNELS, 5, dtype=dtype)
    shifts = numbers(count, CHANNELS, dtype=dtype, seed=1)
    *rows, (held, size) = weigh(sums, shifts, holds=True)
    assert len(rows) == count
    assert torch.equal(weigh(sums, shifts, holds=False), weigh(sums, shifts, holds=True)[:count])
    shares = torch.einsum("kc,nc->kn", shifts, sums[..., 2])
    sizes = torch.einsum("kc,nc->kn", shifts.abs(), sums[..., 3])
    for row, share, mass in zip(rows, shares, sizes, strict=True):
        assert_close(row[0], share)
        assert_close(row[1], mass)
    assert_close(held, sums[..., 0].sum(1))
    assert_close(size, sums[..., 1].sum(1))


@pytest.mark.parametrize("value", [torch.inf, torch.finfo(torch.float32).max])
def test_shares_without_bounds_do_not_warn(value: float) -> None:
    sums = torch.zeros(1, 2, 5)
    sums[..., 2:] = value
    shifts = torch.tensor([[2.0, 2.0], [0.0, -2.0], [0.0, 0.0]])
    *rows, held = weigh(sums, shifts, holds=True)
    assert float(rows[0][0]) == float(rows[0][1]) == torch.inf
    assert bool(rows[2][0].isnan().all()) == (value == torch.inf)
    assert held.tolist() == [[0], [0]]


def test_sums_beyond_the_format_are_infinite_without_a_warning() -> None:
    sums = torch.zeros(1, 2, 5)
    sums[..., :2] = 3e38
    (held,) = weigh(sums, torch.zeros(0, 2), holds=True)
    assert held.tolist() == [[math.inf], [math.inf]]
