"""What units hand out for every input, and masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biasmatters.kernels import shares
from biasmatters.kernels.shares import ROW
from tests.kernels.values import FORMATS, SHAPES, assert_close, numbers

LENGTHS = [1, 7, ROW - 1, ROW, ROW + 1, 2 * ROW + 13]


@pytest.mark.parametrize("least", [(0.0, 0.5), (0.0, 0.0), (0.3, 1e-30), (2.0, 0.5)])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("length", LENGTHS)
def test_bias_over_totals(length: int, dtype: torch.dtype, least: tuple[float, float]) -> None:
    tau = numbers(length, dtype=dtype, seed=1)
    total = numbers(length, dtype=dtype, seed=2).abs()
    share, lost = shares.divide(tau, total.clone(), least)
    lives = total > torch.clamp(tau.abs() * least[0], min=least[1])
    wanted = torch.where(lives, tau / total, torch.zeros_like(tau))
    stranded = torch.where(lives, torch.zeros_like(tau), tau)
    assert_close(share, wanted)
    assert (lost is None) == (not bool(stranded.any()))
    if lost is not None:
        assert torch.equal(lost, stranded)
    assert torch.equal(shares.strand(tau, total, least), stranded)


@pytest.mark.parametrize("at", [0, ROW - 1, ROW, 2 * ROW + 12])
def test_a_single_unit_without_total_is_found_wherever_it_is(at: int) -> None:
    tau, total = torch.ones(LENGTHS[-1]), torch.full((LENGTHS[-1],), 2.0)
    assert shares.divide(tau, total.clone(), (0.0, 0.5))[1] is None
    total[at] = 0.5
    share, lost = shares.divide(tau, total, (0.0, 0.5))
    assert lost is not None
    assert lost.nonzero().tolist() == [[at]]
    assert float(share[at]) == 0
    assert float(share.sum()) == (len(tau) - 1) / 2


def test_a_total_just_at_its_least_counts_as_none() -> None:
    tau, total = torch.tensor([4.0, -4.0, 1.0, 1.5]), torch.tensor([1.0, 2.0, 0.5, 0.75])
    share, lost = shares.divide(tau, total, (0.25, 0.5))
    assert share.tolist() == [0.0, -2.0, 0.0, 2.0]
    assert lost is not None
    assert lost.tolist() == [4.0, 0.0, 1.0, 0.0]


def test_units_without_bias_and_without_total_lose_nothing() -> None:
    share, lost = shares.divide(torch.tensor([0.0, -0.0, 3.0]), torch.tensor([0.0, 0, 2]), (0, 0))
    assert share.tolist() == [0.0, 0.0, 1.5]
    assert lost is None


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_shape_of_units_is_kept(dtype: torch.dtype) -> None:
    tau = numbers(2, 3, 5, 7, dtype=dtype)
    share, lost = shares.divide(tau, torch.ones_like(tau).mul_(0.25), (0.0, 0.5))
    assert share.shape == tau.shape
    assert not share.any()
    assert lost is not None
    assert torch.equal(lost, tau)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [*SHAPES, *((n,) for n in LENGTHS)])
def test_masks(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = numbers(*shape, dtype=dtype, seed=1)
    assert torch.equal(shares.present(x), (x != 0).to(dtype))


def test_zeros_of_both_signs_and_the_smallest_numbers() -> None:
    x = torch.tensor([0.0, -0.0, 1e-45, -1e-45, torch.inf])
    assert shares.present(x).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (5, 3, 3, 3), (3, 9, 1, 1), (2, 4, 5)])
def test_zeros_of_rows_and_columns(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weight = numbers(*shape, dtype=dtype).requires_grad_()
    gone = (weight == 0).flatten(2) if weight.ndim > 2 else (weight == 0).unsqueeze(2)
    found = shares.zeros(weight.unsqueeze(2) if weight.ndim == 2 else weight)
    assert (found is not None) == bool(gone.any())
    if found is not None:
        assert found[0].tolist() == gone.sum((1, 2)).tolist()
        assert found[1].tolist() == gone.sum((0, 2)).tolist()


def test_weights_without_zeros() -> None:
    assert shares.zeros(torch.ones(3, 2, 9)) is None


def test_a_single_zero() -> None:
    weight = torch.ones(3, 2, 9)
    weight[1, 0, 5] = -0.0
    found = shares.zeros(weight)
    assert found is not None
    assert [counts.tolist() for counts in found] == [[0, 1, 0], [1, 0]]


@settings(deadline=None, max_examples=40)
@given(
    pairs=st.lists(
        st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32)), min_size=1
    )
)
def test_what_is_handed_out_and_what_is_lost_make_up_the_bias(
    pairs: list[tuple[float, float]],
) -> None:
    tau, total = (torch.tensor(values, dtype=torch.float64) for values in zip(*pairs, strict=True))
    share, lost = shares.divide(tau, total.clone(), (1e-9, 1e-3))
    back = share * total + (0 if lost is None else lost)
    torch.testing.assert_close(back, tau, rtol=1e-12, atol=0)
