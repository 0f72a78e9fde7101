"""Dense maps whose weights are many, and their few zeros."""

from __future__ import annotations

import pytest
import torch

from biasmatters.affine.maps import dense
from biasmatters.affine.maps.dense import DenseMap


@pytest.mark.parametrize("holes", [0, 2, 300])
@pytest.mark.parametrize("exponent", [0, 1])
@pytest.mark.parametrize("large", [1, 1 << 22])
def test_powers(monkeypatch: pytest.MonkeyPatch, holes: int, exponent: int, large: int) -> None:
    monkeypatch.setattr(dense, "LARGE", large)
    make = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 60, dtype=torch.float64, generator=make)
    weight.view(-1)[torch.randperm(2400, generator=make)[:holes]] = 0
    x = torch.randn(2, 3, 60, dtype=torch.float64, generator=make)
    tau = torch.randn(2, 3, 40, dtype=torch.float64, generator=make)
    matrix = (weight != 0).double() if exponent == 0 else weight.abs()
    found = DenseMap(weight).power(exponent, x)
    torch.testing.assert_close(found.forward(x), x @ matrix.T)
    torch.testing.assert_close(found.transpose(tau), tau @ matrix)
