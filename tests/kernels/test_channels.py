"""Sums over channels and back."""

from __future__ import annotations

import pytest
import torch

from biasmatters.kernels import channels
from biasmatters.kernels.channels import SPAN
from biasmatters.kernels.machine_code import run_all, stacks
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
    rest = numbers(shape[0], 1, *shape[2:], dtype=dtype, seed=3)
    assert_close(channels.give(x, present, rest), (x != 0).to(dtype) * present + rest)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE])
def test_sums_of_bias_above_a_bend(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    beta, grad, y = (numbers(*shape, dtype=dtype, seed=seed) for seed in (1, 2, 3))
    y, shift = y.clamp(-0.5, 1.0), numbers(shape[1], dtype=dtype, seed=4)
    bounds = torch.tensor([-0.5, 1.0, -0.25, 0.75], dtype=dtype)
    inside, at = (y > -0.5) & (y < 1.0), torch.where(y < 0, -0.25, 0.75).to(dtype)
    constant = shift.reshape(-1, *(1,) * (len(shape) - 2))
    total = beta + grad * torch.where(inside, constant, at)
    parts = [total * inside, (total * inside).abs(), total * ~inside, (total * ~inside).abs()]
    every = torch.arange(shape[1])
    for apart in (every[:0], every[1::2], every):
        units = [c for c in range(shape[1]) if c not in apart]
        wanted = torch.stack([part[:, units].sum(1, keepdim=True) for part in parts])
        x = numbers(shape[0], 3, *(n + 3 for n in shape[2:]), dtype=dtype, seed=5)
        bent = channels.arrays_of((beta, grad, y, shift, bounds))
        left = channels.all_but(apart, shape[1])
        task, found = channels.sum_bent(bent, stacks(x), left)
        run_all(task)
        sums, mass, count = map(torch.from_numpy, found)
        assert_close(sums, wanted[::2].reshape(2, len(x), -1))
        assert_close(mass.sum(1), wanted[3].flatten(1).sum(1))
        assert torch.equal(count, (x != 0).sum(1).reshape(len(x), -1).to(dtype))
        assert_close(
            torch.from_numpy(channels.sum_sizes(bent, left)), wanted[1].reshape(len(x), -1)
        )
