"""What lies around a window."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biasmatters.kernels.borders import border_sums
from tests.kernels.values import FORMATS, assert_close, numbers

WINDOWS = [(0, 5, 0, 7), (1, 4, 2, 6), (0, 5, 3, 7), (2, 5, 0, 7), (0, 1, 0, 1), (3, 3, 2, 2)]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("lead", [(1,), (3,), (2, 4), (2, 1, 3)])
def test_sums_of_what_lies_around(
    lead: tuple[int, ...], dtype: torch.dtype, window: tuple[int, int, int, int]
) -> None:
    values = numbers(*lead, 5, 7, dtype=dtype)
    top, bottom, left, right = window
    outside = values.clone()
    outside[..., top:bottom, left:right] = 0
    flat = outside.reshape(len(values), -1)
    assert_close(border_sums(values, window), torch.stack([flat.sum(1), flat.abs().sum(1)], 1))


def test_what_is_inside_is_not_looked_at() -> None:
    values = torch.ones(1, 3, 4)
    values[:, 1, 1:3] = torch.nan
    assert border_sums(values, (1, 2, 1, 3)).tolist() == [[10, 10]]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_every_window(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    top, bottom = sorted(data.draw(st.tuples(*[st.integers(0, height)] * 2)))
    left, right = sorted(data.draw(st.tuples(*[st.integers(0, width)] * 2)))
    values = -torch.arange(1.0, 2 * height * width + 1).reshape(2, height, width).double()
    wanted = values.sum((1, 2)) - values[:, top:bottom, left:right].sum((1, 2))
    found = border_sums(values, (top, bottom, left, right))
    assert found.tolist() == [[float(s), float(-s)] for s in wanted]
