"""Sums over whole planes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import totals
from tests.kernels.values import FORMATS, assert_close, numbers

Least = tuple[float, float]
PLANES = [(1, 1, 1), (2, 3, 1), (2, 3, 5), (1, 4, 7, 3), (3, 5, 17, 9), (2, 2, 3, 4, 3),
          (1, 1, 70, 80)]  # fmt: skip


def by_loop(
    x: Tensor, tau: Tensor, factor: float, least: Least, *, even: bool
) -> tuple[Tensor, Tensor]:
    rows, flat = x.reshape(tau.numel(), -1), tau.reshape(-1)
    beta, lost = torch.zeros_like(rows), torch.zeros_like(flat)
    for p, row in enumerate(rows):
        each = (row != 0).to(row.dtype) if even else row.abs()
        if float(each.sum()) * factor > max(least[1], least[0] * abs(float(flat[p]))):
            beta[p] = flat[p] * (each / each.sum())
        else:
            lost[p] = flat[p]
    return beta.reshape(x.shape), lost.reshape(tau.shape)


@pytest.mark.parametrize("factor", [1.0, 0.01, 0.0])
@pytest.mark.parametrize("least", [(0.0, 0.5), (1e-30, 1e-37), (0.5, 0.5)])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", PLANES)
def test_shares_are_those_of_a_loop(
    shape: tuple[int, ...], dtype: torch.dtype, even: bool, least: Least, factor: float
) -> None:
    x = numbers(*shape, dtype=dtype, seed=1)
    x[-1, -1] = 0
    tau = numbers(*shape[:2], *(1 for _ in shape[2:]), dtype=dtype, seed=2)
    tau[-1, -1] = 0.75
    beta, lost = totals.split(x, tau, factor, least, even=even)
    wanted, stranded = by_loop(x, tau, factor, least, even=even)
    assert_close(beta, wanted)
    assert (lost is None) == (not bool(stranded.any()))
    if lost is not None:
        assert torch.equal(lost, stranded)


@pytest.mark.parametrize("even", [True, False])
def test_every_plane_hands_out_all_it_has(even: bool) -> None:
    x, tau = numbers(3, 7, 11, 13, dtype=torch.float64), torch.randn(3, 7, 1, 1).double()
    beta, lost = totals.split(x, tau, 1 / 143, (0.0, 1e-300), even=even)
    assert lost is None
    assert_close(beta.sum((2, 3), keepdim=True), tau)
    assert not beta[x == 0].any()


def test_a_leaf_is_read_and_left_alone() -> None:
    x = numbers(2, 3, 4, dtype=torch.float64).requires_grad_()
    beta, _ = totals.split(x, torch.ones(2, 3, 1).double(), 1.0, (0.0, 0.5), even=True)
    assert not beta.requires_grad


@pytest.mark.parametrize("even", [True, False])
def test_a_long_row_loses_nothing_beside_a_large_number(even: bool) -> None:
    x = torch.full((1, 1, 1_000_000), 1e-4)
    x[..., 0] = 1e4
    beta, _ = totals.split(x, torch.full((1, 1, 1), 50.0), 1e-6, (0.0, 0.0), even=even)
    assert abs(float(beta.double().sum()) - 50) < 1e-3
