"""`torch.einsum` in all its spellings, and folding through products with constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import seeded
from tests.reference.dense import Block, dense_bbp, localise

torch.manual_seed(0)
A, B = torch.randn(5, 4).double(), torch.randn(4, 2).double()
LINEAR = seeded(nn.Linear(5, 5))
SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "implicit": lambda x: torch.einsum("bi,ij", x, A),
    "implicit_order": lambda x: torch.einsum("ij,bi", A, x),
    "dots": lambda x: torch.einsum("...i,ij->...j", x, A),
    "dots_implicit": lambda x: torch.einsum("...i,ij", x, A),
    "dots_inside": lambda x: torch.einsum("b...i,ij->b...j", x[:, None], A).flatten(1),
    "dots_of_unequal_ranks": lambda x: torch.einsum("...i,...j->...ij", x, A[:, 0]).flatten(1),
    "diagonal": lambda x: torch.einsum("bii->bi", x[:, :, None] * LINEAR.weight),
    "trace": lambda x: torch.einsum("bii->b", x[:, :, None] * LINEAR.weight)[:, None],
    "broadcast": lambda x: torch.einsum("bi,bi->bi", x, torch.ones(1, 5).double()),
    "broadcast_and_summed": lambda x: torch.einsum("bi,bj->bj", x, torch.ones(1, 2).double()),
    "three": lambda x: torch.einsum("bi,ij,jk->bk", x, A, B),
    "three_tracked_last": lambda x: torch.einsum("ij,jk,bi->bk", A, B, x),
    "outer": lambda x: torch.einsum("bi,j->bij", x, A[0]).flatten(1),
    "left": lambda x: torch.einsum("ji,bik->bjk", A.T, x[:, :, None] * B[0]).flatten(1),
    "numbers": lambda x: torch.einsum(x, [0, 1], A, [1, 2], [0, 2]),
    "list": lambda x: torch.einsum("bi,ij->bj", [x, A]),
    "spaces": lambda x: torch.einsum("b i, i j -> b j", x, A),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    def net(x: Tensor) -> Tensor:
        return SPELLINGS[name](F.relu(LINEAR(x)))

    x = torch.randn(3, 5, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    wanted = net(leaf)[:, 0]
    (grad,) = torch.autograd.grad(wanted.sum(), leaf)
    form = bm.local_affine(net, x, 0 if net(x).shape[1] > 1 else None)
    torch.testing.assert_close(form.output, wanted.detach())
    torch.testing.assert_close(form.weight, grad)
    assert form.certificate.verdict == "exact"
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, None).complete


def test_products_of_tracked_operands() -> None:
    def net(x: Tensor) -> Tensor:
        return torch.einsum("bi,ij,bj->bi", LINEAR(x), LINEAR.weight, x)

    x = torch.randn(3, 5, dtype=torch.float64)
    form = bm.local_affine(net, x, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "first-order"
    assert bm.BiasBackprop(net, "uniform").explain(x, 0).complete


def test_samples_that_are_summed_over() -> None:
    with pytest.raises(bm.SampleAxisError):
        bm.local_affine(lambda x: torch.einsum("bi,bj->ij", x, x)[:3], torch.ones(3, 5), 0)


CONSTANT = torch.randn(4, 4).double()
PRODUCTS: dict[str, Callable[[Tensor], Tensor]] = {
    "x @ W": lambda t: t @ CONSTANT,
    "W @ x": lambda t: CONSTANT[:2, :3] @ t,
    "batched x @ W": lambda t: t @ CONSTANT.expand(len(t), 4, 4),
    "batched W @ x": lambda t: CONSTANT[:3, :3].expand(len(t), 3, 3) @ t,
    "bmm": lambda t: torch.bmm(t, CONSTANT.expand(len(t), 4, 4)),
    "einsum": lambda t: torch.einsum("bij,kj->bik", t, CONSTANT),
    "einsum, left": lambda t: torch.einsum("ki,bij->bkj", CONSTANT[:, :3], t),
    "einsum, constant first": lambda t: torch.einsum("kj,bij->bik", CONSTANT, t),
}


@pytest.mark.parametrize("rule", bm.RULES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_slopes_fold_into_products_with_constants(name: str, rule: str) -> None:
    """As into a linear layer: the slope after it scales the contributions that a rule sees."""
    product = PRODUCTS[name]
    first = seeded(nn.Linear(6, 12))
    shape = product(torch.zeros(1, 3, 4).double())[0].numel()
    last = seeded(nn.Linear(shape, 3))

    def leaky(z: Tensor) -> Tensor:
        return F.leaky_relu(z, 0.3)

    def inner(t: Tensor) -> Tensor:
        return product(t.view(-1, 3, 4))

    def net(x: Tensor) -> Tensor:
        return last(leaky(inner(F.relu(first(x)))).flatten(1))

    blocks = [Block(first, F.relu), Block(inner, leaky), Block(lambda t: last(t.flatten(1)))]
    x = torch.randn(2, 6, dtype=torch.float64)
    found = bm.BiasBackprop(net, rule, 0.5).explain(x, 1)
    for i in range(2):
        wanted = dense_bbp(localise(blocks, x[i : i + 1]), 1, rule, 0.5)
        np.testing.assert_allclose(found.map[i].flatten(), wanted, rtol=1e-8, atol=1e-11)
