"""Slopes that are one number for a channel mean the same as when they are written out."""

from __future__ import annotations

import pytest
import torch

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.rules import RULES, make_rule
from tests.rules.liveness import live_of

MAPS = {
    "plain": ConvMap(torch.randn(5, 9, 3, 3).double(), (1, 1), ((1, 1),) * 2, (1, 1), 1),
    "depthwise": ConvMap(torch.randn(9, 1, 3, 3).double(), (1, 1), ((1, 1),) * 2, (1, 1), 9),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dead", [False, True])
def test_by_channel_or_written_out(rule: str, name: str, dead: bool) -> None:
    torch.manual_seed(0)
    mixing = MAPS[name]
    units = len(mixing.weight)
    x = torch.randn(2, 9, 5, 5).double()
    x[:, 2] = 0
    tau = torch.randn(2, units, 5, 5).double()
    by_channel = torch.randn(units).double()
    if dead:
        by_channel[3] = 0
    slopes = by_channel.reshape(1, -1, 1, 1).expand(tau.shape)
    split = make_rule(rule, 0.7).split
    beta, live = split(mixing, x, tau.clone(), slopes)
    wanted, mask = split(mixing, x, tau.clone(), slopes.contiguous())
    live, mask = live_of(live, tau), live_of(mask, tau)
    torch.testing.assert_close(beta.contiguous(), wanted.contiguous())
    torch.testing.assert_close(live.contiguous(), mask.contiguous())
    assert bool((live[:, 3] == 0).all()) == dead
    handed = (tau * live).sum((1, 2, 3))
    torch.testing.assert_close(beta.sum((1, 2, 3)), handed)
