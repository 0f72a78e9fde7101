"""The expansion of the softmax rules' exponential stays within its bound."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biasmatters.rules.expansion import expand, round_up
from biasmatters.rules.series import Terms


def series(at: Tensor, coefficients: Tensor) -> Tensor:
    terms = Terms(coefficients.shape[1], at)
    return terms.prepared(coefficients, at) @ terms.at(at)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    sign=st.sampled_from([-1, 1]),
    reach=st.floats(1e-4, 300),
    digits=st.floats(4, 11),
)
def test_the_bound_holds(sign: int, reach: float, digits: float) -> None:
    tolerance = 10**-digits * max(1.0, reach / 10)
    found = expand(sign, reach, tolerance)
    at = torch.linspace(0, 1, 211, dtype=torch.float64)
    product = reach * at[:, None] * at
    kernel = (-product).exp() if sign < 0 else (product - reach).exp()
    near = series(at, found.free[None]) + series(at, found.weights).T @ series(at, found.inputs)
    assert float((near - kernel).abs().max()) <= found.bound + 1e-14 * max(1.0, reach)
    assert found.bound <= tolerance


@pytest.mark.parametrize(("reach", "rank"), [(0.25, 3), (1.3, 4), (8.0, 8), (64.0, 14)])
def test_few_products_suffice(reach: float, rank: int) -> None:
    """Powers of z would take about 6 at 1.3 and cancel by e^R beyond."""
    assert expand(-1, reach, 1e-6).rank <= rank


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(ValueError, match="cannot be met at reach 100"):
        expand(-1, 100.0, 1e-17)


def test_reaches_are_rounded_up_to_a_grid() -> None:
    assert round_up(1.0) == 1.0
    assert 1.0 < round_up(1.01) < 1.2
    assert round_up(1e-9) == round_up(1e-3) > 1e-3


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 9])
def test_terms_are_chebyshev_polynomials(degree: int) -> None:
    at = torch.linspace(0, 1, 7, dtype=torch.float64)
    weights = torch.arange(7.0, dtype=torch.float64)
    terms = Terms(degree, at)
    each = terms.prepared(torch.eye(degree, dtype=torch.float64), at)
    wanted = torch.stack([(j * (2 * at - 1).arccos()).cos() for j in range(degree)])
    torch.testing.assert_close(each @ terms.at(at), wanted)
    torch.testing.assert_close(each @ terms.at(at, weights), wanted * weights)
    fewer = terms.prepared(torch.ones(1, 1, dtype=torch.float64), at)
    torch.testing.assert_close(fewer @ terms.at(at), torch.ones(1, 7, dtype=torch.float64))
