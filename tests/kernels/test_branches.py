"""Two branches that meet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import branches
from biasmatters.kernels.branches import Shares
from biasmatters.kernels.shares import ROW
from tests.kernels.values import FORMATS, SHAPES, assert_close, numbers


def by_hand(
    tau: Tensor,
    values: tuple[Tensor, Tensor],
    factors: tuple[float, float],
    shares: Shares,
    least: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor]:
    zero = torch.zeros_like(tau)
    a, b = ((v * f).abs() for v, f in zip(values, factors, strict=True))
    if shares == "even":
        a, b = ((size != 0).to(tau.dtype) for size in (a, b))
    total = a + b
    lives = total > (tau.abs() * least[0]).clamp_min(least[1])
    first, second = (torch.where(lives, tau * (size / total), zero) for size in (a, b))
    return first, second, torch.where(lives, zero, tau)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (1.0, -1.0), (-0.25, 3.0), (0.0, 2.0)])
@pytest.mark.parametrize(
    ("shares", "least"),
    [("even", (0.0, 0.5)), ("by size", (1e-30, 1e-37)), ("by size", (0.4, 0.2))],
)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [*SHAPES, (ROW - 1,), (ROW,), (2, ROW + 3)])
def test_shares_of_two_branches(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    shares: Shares,
    least: tuple[float, float],
    factors: tuple[float, float],
) -> None:
    tau = numbers(*shape, dtype=dtype, seed=1)
    values = numbers(*shape, dtype=dtype, seed=2), numbers(*shape, dtype=dtype, seed=3)
    (first, second), lost = branches.meet(tau, values, factors, shares, least)
    *wanted, stranded = by_hand(tau, values, factors, shares, least)
    assert_close(first, wanted[0])
    assert_close(second, wanted[1])
    assert (lost is None) == (not bool(stranded.any()))
    if lost is not None:
        assert torch.equal(lost, stranded)


def test_opposite_branches_share_by_size() -> None:
    tau, a, b = torch.tensor([6.0, 6, 6, 6]), torch.tensor([1.0, 0, 2, -0.0]), torch.ones(4)
    b[3] = 0
    (first, second), lost = branches.meet(tau, (a, b), (1.0, -1.0), "by size", (0.0, 0.0))
    assert first.tolist() == [3, 0, 4, 0]
    assert second.tolist() == [3, 6, 2, 0]
    assert lost is not None
    assert lost.tolist() == [0, 0, 0, 6]
    (first, second), _ = branches.meet(tau, (a, b), (1.0, -1.0), "even", (0.0, 0.5))
    assert first.tolist() == [3, 0, 3, 0]
    assert second.tolist() == [3, 6, 3, 0]
