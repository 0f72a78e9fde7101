"""Sums over channels and back."""

from __future__ import annotations

import pytest
import torch

from biasmatters.kernels import channels
from biasmatters.kernels.channels import SPAN
from tests.kernels.values import FORMATS, SHAPES, assert_close, numbers

WIDE = [(2, 3, SPAN - 1), (1, 2, SPAN), (2, 1, SPAN + 1), (2, 3, 2 * SPAN + 5), (1, 5, 67, 41)]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE])
def test_sums_over_channels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = numbers(*shape, dtype=dtype)
    count, total = channels.count_present(x), channels.sum_channels(x)
    assert count.dtype == dtype
    assert torch.equal(count, (x != 0).sum(1, keepdim=True).to(dtype))
    assert_close(total, x.sum(1, keepdim=True))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE])
def test_every_channel_of_a_place_gets_the_same(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = numbers(*shape, dtype=dtype, seed=1)
    present = numbers(shape[0], 1, *shape[2:], dtype=dtype, seed=2)
    assert_close(channels.give(x, present), (x != 0).to(dtype) * present)
