"""Dense layers, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biasmatters.kernels import dense
from tests.kernels.values import FORMATS, assert_close, numbers


def by_loop(
    weight: Tensor, sizes: Tensor, tau: Tensor, least: tuple[float, float], *, even: bool
) -> tuple[Tensor, Tensor]:
    beta, lost = torch.zeros_like(sizes), torch.zeros_like(tau)
    for n in range(len(tau)):
        for p, row in enumerate(weight):
            each = ((row != 0).to(row.dtype) if even else row.abs()) * sizes[n]
            if float(each.sum()) > max(least[1], least[0] * abs(float(tau[n, p]))):
                beta[n] += tau[n, p] * (each / each.sum())
            else:
                lost[n, p] = tau[n, p]
    return beta, lost


@pytest.mark.parametrize("least", [(0.0, 0.5), (1e-30, 1e-37), (0.5, 0.5)])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (8, 7, 4), (1, 33, 65), (3, 10, 1)])
def test_shares_are_those_of_a_loop(
    shape: tuple[int, int, int], dtype: torch.dtype, even: bool, least: tuple[float, float]
) -> None:
    samples, units, inputs = shape
    weight = numbers(units, inputs, dtype=dtype, seed=1)
    weight[units // 2] = 0
    x = numbers(samples, inputs, dtype=dtype, seed=2, holes=0.5)
    sizes = (x != 0).to(dtype) if even else x.abs()
    tau = numbers(samples, units, dtype=dtype, seed=3)
    beta, lost = dense.split(weight, x, tau, least, even=even)
    wanted, stranded = by_loop(weight, sizes, tau, least, even=even)
    assert_close(beta, wanted)
    assert (lost is None) == (not bool(stranded.any()))
    if lost is not None:
        assert torch.equal(lost, stranded)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_large_layers_are_worked_on_in_parts(threads: int, dtype: torch.dtype, even: bool) -> None:
    weight = numbers(1025, 1031, dtype=dtype, seed=1, holes=0.01)
    weight[[0, 511, 512, 1024]] = 0
    sizes = (numbers(2, 1031, dtype=dtype, seed=2) != 0).to(dtype)
    tau = numbers(2, 1025, dtype=dtype, seed=3, holes=0.1)
    tau[:, [0, 511, 512, 1024]] = 2.0
    matrix = (weight != 0).to(dtype) if even else weight.abs()
    total = sizes @ matrix.T
    wanted = ((tau / total.clamp_min(1e-3)) * (total > 0.5)) @ matrix * sizes
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        beta, lost = dense.split(weight, sizes, tau, (0.0, 0.5), even=even)
    finally:
        torch.set_num_threads(before)
    rtol = 1e-4 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(beta, wanted, rtol=rtol, atol=rtol)
    assert lost is not None
    assert torch.equal(lost, tau * (total <= 0.5))


@pytest.mark.parametrize("even", [True, False])
def test_rows_whose_unit_has_no_bias_are_not_read(even: bool) -> None:
    weight = torch.full((3, 4), torch.nan)
    weight[1] = torch.tensor([1.0, 0, -3, 2])
    tau = torch.tensor([[0.0, 6.0, -0.0]])
    beta, lost = dense.split(weight, torch.ones(1, 4), tau, (0.0, 0.5), even=even)
    assert beta.tolist() == [[2, 0, 2, 2] if even else [1, 0, 3, 2]]
    assert lost is None


def test_a_transposed_weight_is_taken_as_it_lies() -> None:
    weight = numbers(5, 7, dtype=torch.float64)
    sizes, tau = torch.ones(2, 7).double(), torch.ones(2, 5).double()
    turned = weight.T.contiguous().T.requires_grad_()
    found = dense.split(turned, sizes, tau, (0.0, 1e-9), even=False)[0]
    assert_close(found, dense.split(weight, sizes, tau, (0.0, 1e-9), even=False)[0])
