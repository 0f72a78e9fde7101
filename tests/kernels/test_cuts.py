"""Where the weight of a map of channels is 0, around the blocks that it is looked through by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from biasmatters.kernels.cuts import BLOCK, find_cuts
from tests.kernels.values import FORMATS, numbers, one_by_one

WIDTHS = [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 2]
UNITS = 7


def whole(width: int, dtype: torch.dtype) -> Tensor:
    return torch.arange(1, UNITS * width + 1, dtype=dtype).reshape(UNITS, width)


def cut(weight: Tensor, rows: Any, columns: Any, value: float = 0.0) -> Tensor:
    weight[rows, columns] = value
    return weight


def borders(weight: Tensor) -> Tensor:
    """Zeros at the ends of rows and of blocks, others in every row."""
    width = weight.shape[1]
    places = sorted({q for q in (0, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK) if q < width})
    for row, place in enumerate([*places, width - 1]):
        weight[row % UNITS, place] = 0.0
    return cut(weight, -1, places)


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda w: w,
    "one": lambda w: cut(w, UNITS // 2, -1),
    "first": lambda w: cut(w, 0, 0),
    "borders": borders,
    "-0.0": lambda w: cut(w, slice(1, None, 2), -1, -0.0),
    "a row": lambda w: cut(w, UNITS - 1, slice(None)),
    "rows": lambda w: cut(w, slice(0, None, 3), slice(None)),
    "a column": lambda w: cut(w, slice(None), w.shape[1] // 2),
    "a column, but for one": lambda w: cut(w, slice(1, None), w.shape[1] // 2),
    "columns": lambda w: cut(cut(w, slice(None), 0), slice(None), -1, -0.0),
    "all": lambda w: w * 0,
    "infinities": lambda w: cut(cut(w, 0, 0, torch.inf), 1, -1, torch.nan),
}


def check(weight: Tensor) -> None:
    gone = weight.numpy() == 0
    cuts, some = find_cuts(weight), gone.any(1)
    assert np.array_equal(cuts.whole, np.flatnonzero(~some))
    assert np.array_equal(cuts.units, np.flatnonzero(some))
    assert np.array_equal(cuts.firsts, np.append(0, gone[some].sum(1).cumsum()))
    assert np.array_equal(cuts.channels, np.nonzero(gone)[1])
    assert np.array_equal(cuts.dead, np.flatnonzero(gone.all(0)))
    for found in (cuts.whole, cuts.units, cuts.firsts, cuts.channels, cuts.dead):
        assert found.dtype == np.int64


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_zeros(kind: str, width: int, dtype: torch.dtype) -> None:
    check(KINDS[kind](whole(width, dtype)))


@pytest.mark.parametrize("holes", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("width", WIDTHS)
def test_random_zeros(width: int, holes: float) -> None:
    check(numbers(41, width, dtype=torch.float32, holes=holes))


def test_rows_are_counted_one_by_one() -> None:
    with one_by_one() as rows:
        check(numbers(41, BLOCK + 1, dtype=torch.float32, holes=0.1))
    assert rows in ([], [41])


def test_one_unit() -> None:
    for weight in (torch.ones(1, BLOCK), torch.zeros(1, BLOCK)):
        check(weight)
