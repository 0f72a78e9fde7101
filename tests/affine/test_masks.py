"""Masks of 0 and 1, in whatever order the numbers lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from biasmatters.affine import masks

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: torch.cat([x, x], 1)[:, :3],
    "expanded": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "a channel's": lambda x: x[0, :, 0, 0].reshape(1, 3, 1, 1).expand(2, 3, 5, 4),
}
FORMATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def numbers(layout: str, dtype: torch.dtype) -> Tensor:
    torch.manual_seed(0)
    values = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    values[values.abs() < 0.6] = 0
    values[0, 1] = -0.0
    return LAYOUTS[layout](values.to(dtype))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_comparisons(layout: str, dtype: torch.dtype) -> None:
    x = numbers(layout, dtype)
    each = torch.linspace(-1, 1, 3).reshape(1, 3, 1, 1).to(dtype)
    for found, wanted in (
        (masks.present(x), x != 0),
        (masks.above(x, 0.5), x > 0.5),
        (masks.above(x, each), x > each),
        (masks.below(x, each), x < each),
        (masks.differs(x, each), x != each),
    ):
        assert found.dtype == dtype
        assert torch.equal(found, wanted.to(dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts(layout: str) -> None:
    x = numbers(layout, torch.float32)
    assert masks.count(x) == int((x != 0).sum())
    assert masks.all_present(x) == bool((x != 0).all())
    assert masks.all_present(x.abs() + 1)
    assert torch.equal(masks.once(x).expand_as(x), x)


def test_a_number_shown_in_many_places_is_looked_at_once() -> None:
    assert masks.once(torch.ones(2, 1, 1).expand(2, 3, 4)).shape == (2, 1, 1)
    assert masks.once(torch.ones(())).shape == ()


def test_nothing_is_all_there() -> None:
    assert masks.all_present(torch.empty(0, 3))
    assert masks.count(torch.empty(0, 3)) == 0
    assert not masks.any_left(torch.empty(0, 3))
