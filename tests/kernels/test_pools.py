"""Max-pools: bias where autograd sends a gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.kernels import pools
from tests.kernels.values import FORMATS, assert_close, numbers

Pair = tuple[int, int]
# Kernel, stride, padding, dilation, and whether the last windows may stick out.
GEOMETRIES: list[tuple[Pair, Pair, Pair, Pair, bool]] = [
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 3), (1, 1), (1, 1), (1, 1), False),
    ((2, 3), (3, 1), (1, 0), (2, 1), False),
    ((3, 2), (1, 2), (0, 1), (1, 3), False),
    ((3, 3), (2, 3), (1, 1), (2, 2), True),
    ((2, 2), (3, 3), (0, 0), (1, 1), True),
    ((1, 1), (2, 1), (0, 0), (1, 1), False),
]
KINDS = ["random", "rounded", "alike", "zeros of both signs", "behind a relu"]


def values(kind: str, dtype: torch.dtype) -> Tensor:
    x = numbers(2, 3, 9, 8, dtype=dtype)
    if kind == "rounded":
        return x.round()
    if kind == "alike":
        return torch.full_like(x, -2.0)
    if kind == "zeros of both signs":
        return torch.where(x > 0, 0.0, -0.0).to(dtype)
    return x.relu() if kind == "behind a relu" else x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_bias_goes_where_autograd_sends_a_gradient(
    geometry: tuple[Pair, Pair, Pair, Pair, bool], dtype: torch.dtype, kind: str
) -> None:
    x = values(kind, dtype).requires_grad_()
    *places, ceil = geometry
    y = F.max_pool2d(x, *places, ceil_mode=ceil)
    tau = numbers(*y.shape, dtype=dtype, seed=3)
    found = pools.route(x, y, tau, *places)
    assert found is not None
    assert_close(found, torch.autograd.grad(y, x, tau)[0])


def test_an_entry_that_is_nowhere_in_its_window_is_not_guessed() -> None:
    x = torch.zeros(1, 1, 2, 4)
    x[..., 0, 0] = torch.nan
    y = F.max_pool2d(x, 2)
    places = (2, 2), (2, 2), (0, 0), (1, 1)
    assert pools.route(x, y, torch.ones_like(y), *places) is None
    found = pools.route(x, y, torch.tensor([[[[0.0, 1.0]]]]), *places)
    assert found is not None
    assert found.tolist() == [[[[0, 0, 1, 0], [0, 0, 0, 0]]]]
