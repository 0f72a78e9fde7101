"""Bias of units without contributions, listed and by whole maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from biasmatters.affine import fallback
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.maps.transposed_conv import TransposedConvMap

MAPS: dict[str, tuple[ConvMap | TransposedConvMap | DenseMap, tuple[int, ...], tuple[int, ...]]] = {
    "padded": (
        ConvMap(torch.randn(4, 2, 3, 2).double(), (2, 1), ((2, 2), (0, 3)), (1, 2), 2),
        (2, 4, 7, 6), (2, 4, 5, 7),
    ),
    "depthwise": (
        ConvMap(torch.randn(4, 1, 3, 3).double(), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
        (2, 4, 5, 5), (2, 4, 5, 5),
    ),
    "transposed": (
        TransposedConvMap(torch.randn(4, 3, 3, 2).double(), (2, 1), (1, 0), (1, 0), (1, 1), 1),
        (2, 4, 7, 6), (2, 3, 14, 7),
    ),
    "dense": (DenseMap(torch.randn(5, 6).double()), (2, 3, 6), (2, 3, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("exponent", [0, 1])
@pytest.mark.parametrize("holes", [False, True])
def test_listed_units_equal_whole_maps(
    monkeypatch: pytest.MonkeyPatch, name: str, exponent: int, holes: bool
) -> None:
    mixing, shape, out = MAPS[name]
    make = torch.Generator().manual_seed(1)
    weight = mixing.weight.clone()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(fallback, "LISTED", 40)
    if holes:
        weight[weight.abs() < 0.3] = 0
        weight[1] = 0
        mixing = replace(mixing, weight=weight)
    x = torch.zeros(*shape, dtype=torch.float64)
    tau = torch.randn(*out, dtype=torch.float64, generator=make)
    tau *= torch.rand(*out, generator=make) < 0.5
    monkeypatch.setattr(fallback, "FEW", -1.0)
    beta, lost = hand_to_support(mixing, x, tau, exponent)
    # Convolutions are listed by weight alone: evenly they are counted.
    listed, also_lost = fallback._listed(mixing, x, tau, exponent)
    torch.testing.assert_close(listed, beta)
    assert (lost is None) == (also_lost is None)
    if lost is None or also_lost is None:
        # A row without weights has no input to give to; of a transposed map it is an input's.
        assert not holes or name == "transposed"
        lost = also_lost = torch.zeros_like(tau)
    torch.testing.assert_close(also_lost, lost)
    torch.testing.assert_close(listed.sum() + lost.sum(), tau.sum())
