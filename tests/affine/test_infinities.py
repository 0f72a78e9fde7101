"""Masks of -inf, before whatever turns them into numbers again; and no NaN without a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import seeded

torch.manual_seed(0)
FIRST, LAST = seeded(nn.Linear(5, 5)), seeded(nn.Linear(5, 3))
MASK = torch.tensor([True, False, False, True, False])


def by_hand(z: Tensor) -> Tensor:
    z = (z - z.amax(1, keepdim=True)).exp()
    return z / z.sum(1, keepdim=True)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "clamp": lambda z: z.clamp(min=-5),
    "hardtanh": F.hardtanh,
    "hardtanh_from_0": lambda z: F.hardtanh(z, 0.0, torch.inf),
    "relu": F.relu,
    "logsumexp": lambda z: z.logsumexp(1, keepdim=True).expand(-1, 5),
    "softmax": lambda z: z.softmax(1),
    "softmax_by_hand": by_hand,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_masked_entries(name: str) -> None:
    def net(x: Tensor) -> Tensor:
        return LAST(FUNCTIONS[name](FIRST(x).masked_fill(MASK, -torch.inf)))

    x = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    form = bm.local_affine(net, x, 1)
    assert form.certificate.passed
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, 1).complete


@pytest.mark.parametrize("bad", [0, 2])
def test_a_map_that_is_not_finite_is_never_returned(
    bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bbp = bm.BiasBackprop(nn.Sequential(nn.Linear(3, 2)), "uniform")

    def broken(mixing: object, x: Tensor, tau: Tensor, scale: object) -> tuple[Tensor, Tensor]:
        beta = torch.zeros_like(x)
        beta[bad] = torch.nan
        return beta, torch.ones_like(tau, dtype=torch.bool)

    monkeypatch.setattr(type(bbp.rule), "split", staticmethod(broken))
    with pytest.raises(bm.InputError, match=f"bias map is not finite at sample index {bad}"):
        bbp.attribute(torch.ones(3, 3), 0)


@pytest.mark.parametrize("keep", [0, 1])
def test_a_fully_masked_row_of_attention_is_zero(keep: int) -> None:
    mask = torch.tensor([[True, False], [False, bool(keep)]])

    def net(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x + 1, x * 2, attn_mask=mask).flatten(1)

    x = torch.randn(2, 2, 4, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    wanted = net(leaf)[:, 5]
    (grad,) = torch.autograd.grad(wanted.sum(), leaf)
    form = bm.local_affine(net, x, 5)
    torch.testing.assert_close(form.output, wanted.detach())
    torch.testing.assert_close(form.weight, grad)
    assert form.certificate.passed
    assert bm.BiasBackprop(net, "uniform").explain(x, 5).complete


@pytest.mark.parametrize(("low", "high"), [(-torch.inf, 0.3), (0.1, torch.inf), (0.0, torch.inf)])
def test_a_bound_that_is_never_passed(low: float, high: float) -> None:
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    form = bm.local_affine(lambda x: LAST(F.hardtanh(FIRST(x), low, high)), x, 1)
    assert form.certificate.passed


def test_a_range_of_one_point_is_a_constant() -> None:
    form = bm.local_affine(
        lambda x: FIRST(F.hardtanh(x, 0.5, 0.5)), torch.full((1, 5), 0.5, dtype=torch.float64), 1
    )
    assert form.certificate.passed
    torch.testing.assert_close(form.bias, form.ledger.total())
