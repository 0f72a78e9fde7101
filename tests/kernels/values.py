"""Numbers that kernels are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from biasmatters.kernels.openmp import OPENMP

# Compiled loops are optional; importing this module skips the tests of a kernel without them.
pytest.importorskip("numba")

FORMATS = [torch.float32, torch.float64]
SHAPES = [(1, 1, 1), (2, 3), (1, 1, 7, 3), (3, 4, 5), (2, 5, 17, 9), (1, 2, 3, 4, 3)]


def numbers(*shape: int, dtype: torch.dtype, seed: int = 0, holes: float = 0.3) -> Tensor:
    """Random numbers, some of them 0 and some -0.0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    drawn = torch.rand(*shape, generator=generator)
    values[drawn < holes] = 0.0
    values[drawn < holes / 2] = -0.0
    return values


def assert_close(found: Tensor, wanted: Tensor) -> None:
    """Up to round-off of the sums, in the wanted format and shape."""
    size = float(wanted.detach().abs().max()) if wanted.numel() else 0.0
    eps = torch.finfo(wanted.dtype).eps
    torch.testing.assert_close(found, wanted, rtol=64 * eps, atol=64 * eps * max(size, 1))


@contextmanager
def one_by_one() -> Iterator[list[int]]:
    """Kernels go through their rows one by one from the last; how many each one has."""
    rows: list[int] = []

    def side_by_side(work: Callable[[int, int], object], count: int, _: int) -> None:
        rows.append(count)
        for row in reversed(range(count)):
            work(row, row + 1)

    with (
        patch("biasmatters.kernels.machine_code.side_by_side", side_by_side),
        patch.object(OPENMP, "at_hand", False),
    ):
        yield rows
