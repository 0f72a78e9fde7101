"""Constants that a model changes after it used them: the record keeps what was used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import seeded

torch.manual_seed(0)
LINEAR = seeded(nn.Linear(5, 5))
Net = Callable[[Tensor], Tensor]


def halved_positions(x: Tensor) -> Tensor:
    position = torch.arange(5.0, dtype=x.dtype)
    for _ in range(2):
        x = LINEAR(x + position)
        position.mul_(0.5)
    return x


def growing_mask(x: Tensor) -> Tensor:
    mask = torch.zeros(1, 5, dtype=x.dtype)
    rows = []
    for i in range(5):
        mask[:, i] = 1
        rows.append((LINEAR(x) - mask).sum(1))
    return torch.stack(rows, 1)


def joined_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(len(x), 2, dtype=x.dtype)
    first = torch.cat([LINEAR(x), buffer], 1)
    buffer[:] = 3
    return first + torch.cat([buffer, LINEAR(x)], 1)


def changed_by_a_view(x: Tensor) -> Tensor:
    table = torch.ones(3, 5, dtype=x.dtype)
    row = table[1]
    x = x + row
    table.add_(1)
    return LINEAR(x) + row


def written_by_out(x: Tensor) -> Tensor:
    shift = torch.ones(5, dtype=x.dtype)
    x = LINEAR(x + shift)
    torch.add(shift, 1, out=shift)
    return x + shift


def changed_by_flag(x: Tensor) -> Tensor:
    shift = torch.full((5,), -1.0, dtype=x.dtype)
    x = LINEAR(x + shift)
    F.relu(shift, inplace=True)
    return x + shift


@pytest.mark.parametrize(
    "net",
    [halved_positions, growing_mask, joined_buffer, changed_by_a_view, written_by_out,
     changed_by_flag],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_the_record_keeps_what_was_used(net: Net) -> None:
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    form = bm.local_affine(net, x, -1)
    torch.testing.assert_close(form.output, net(x)[:, -1].detach())
    assert form.certificate.passed
    for rule in bm.RULES:
        assert bm.BiasBackprop(net, rule).explain(x, -1).complete


def test_a_threshold_that_moves_afterwards_is_the_one_that_was_compared() -> None:
    def net(x: Tensor) -> Tensor:
        threshold = torch.full((), 0.5, dtype=x.dtype)
        x = torch.where(x > threshold, x, 2 * x)
        threshold += 100
        return x

    form = bm.local_affine(net, torch.tensor([[0.75, 2.0]], dtype=torch.float64), 0)
    assert form.certificate.margin.tolist() == [0.25]


def test_what_autograd_needs_unchanged_is_refused_in_plain_words() -> None:
    def net(x: Tensor) -> Tensor:
        factor = torch.ones(5, dtype=x.dtype)
        x = x * factor
        factor.mul_(2)
        return x

    with pytest.raises(bm.UnsupportedOperationError, match="clone"):
        bm.local_affine(net, torch.ones(1, 5, dtype=torch.float64), 0)


def test_a_change_within_another_operation_is_not_lost() -> None:
    """``max_norm`` shrinks the rows of a table in place, by no name that says so."""
    table = torch.full((2, 5), 9.0, dtype=torch.float64)

    def net(x: Tensor) -> Tensor:
        x = x + table[0]
        F.embedding(torch.tensor([0]), table, max_norm=1.0)
        return x

    with pytest.raises(bm.UnsupportedOperationError, match="changed in place afterwards"):
        bm.local_affine(net, torch.ones(1, 5, dtype=torch.float64), 0)


@pytest.mark.parametrize("way", ["data", "detach", "assign"])
def test_a_write_past_the_record_is_refused(way: str) -> None:
    def net(x: Tensor) -> Tensor:
        h = x * 2
        if way == "data":
            h.data.mul_(3)
        elif way == "detach":
            h.detach().mul_(3)
        else:
            h.data = h.detach() + 1
        return h

    x = torch.ones(1, 5, dtype=torch.float64)
    with pytest.raises(bm.UnsupportedOperationError, match="by way of"):
        bm.local_affine(net, x, 0)
    assert x.tolist() == [[1] * 5]
