"""Proportional shares of contributions at the edge of the number format."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from biasmatters.affine.maps.dense import DenseMap
from biasmatters.attribution import BiasBackprop
from biasmatters.rules import RULES, make_rule
from tests.rules.liveness import live_of


@pytest.mark.parametrize("size", [1e-320, 1e-305, 1e-200, 1.0, 1e200])
def test_tiny_contributions_never_give_nan(size: float) -> None:
    weight = torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=torch.float64)
    x = torch.full((1, 2), size, dtype=torch.float64)
    tau = torch.tensor([[1e15, -4.0]], dtype=torch.float64)
    beta, said = make_rule("proportional").split(DenseMap(weight), x, tau, None)
    live = live_of(said, tau)
    handed = tau * live
    assert bool(beta.isfinite().all())
    torch.testing.assert_close(beta.sum(1), handed.sum(1))
    assert bool(live.all()) == (size > 1e-250)
    if bool(live.all()):
        torch.testing.assert_close(beta, handed @ torch.tensor([[0.25, 0.75], [0.5, 0.5]]).double())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("reduce", [torch.logsumexp, torch.prod, torch.amax])
def test_a_reduction_over_one_entry_hands_its_bias_on(
    rule: str, reduce: Callable[..., Tensor]
) -> None:
    torch.manual_seed(0)
    before, after = nn.Linear(3, 1).double(), nn.Linear(1, 2).double()

    def network(x: Tensor) -> Tensor:
        return after(reduce(before(x), 1, keepdim=True))  # type: ignore[no-any-return]

    x = torch.randn(2, 3).double()
    both = BiasBackprop(network, rule).explain(x, 0)
    alone = BiasBackprop(network, rule).explain(x[:1], 0)
    assert both.complete
    assert alone.complete
    torch.testing.assert_close(alone.map, both.map[:1])
