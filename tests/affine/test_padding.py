"""Bias on a model's own padding has no input to go to: it is shared out, every number once."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm

PADS = [(1, 2), (0, 0, 0, 3), (2, 0, 1, 1), (0, 1, 1, 0, 0, 1), (1, 1, 1, 1)]


class Padded(nn.Module):
    """A convolution whose units all saturate, so that their bias goes over all inputs evenly."""

    def __init__(self, pads: tuple[int, ...], *, by_cat: bool) -> None:
        super().__init__()
        self.pads, self.by_cat = pads, by_cat
        torch.manual_seed(0)
        self.before = nn.Conv2d(2, 2, 1)
        self.conv = nn.Conv2d(2 + sum(pads[4:]), 3, 2)
        nn.init.constant_(self.conv.bias, 50)
        self.head = nn.LazyLinear(2)
        self.after: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        x = self._joined(x) if self.by_cat else F.pad(x, self.pads)
        out: Tensor = self.head(F.relu6(self.conv(x)).flatten(1))
        return out if self.after is None else out.to(self.after)

    def _joined(self, x: Tensor) -> Tensor:
        """The same by zeros set beside it, axis by axis."""
        for axis, pair in enumerate(zip(self.pads[::2], self.pads[1::2], strict=True), 1):
            low, high = (
                x.new_zeros([n if a == x.ndim - axis else s for a, s in enumerate(x.shape)])
                for n in pair
            )
            x = torch.cat([low, x, high], -axis)
        return x


def explained(
    pads: tuple[int, ...], fallback: Literal["uniform", "weight", "drop"], *, by_cat: bool
) -> bm.types.Attribution:
    network = Padded(pads, by_cat=by_cat).double()
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        network(x)
        torch.manual_seed(2)
        nn.init.normal_(network.head.weight)
    return bm.BiasBackprop(network.eval(), "uniform", fallback=fallback).explain(x, 0)


@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
@pytest.mark.parametrize("pads", PADS)
def test_padding_is_the_same_as_zeros_set_beside(
    pads: tuple[int, ...], fallback: Literal["uniform", "weight", "drop"]
) -> None:
    found = explained(pads, fallback, by_cat=False)
    wanted = explained(pads, fallback, by_cat=True)
    torch.testing.assert_close(found.map, wanted.map)
    assert found.complete
    assert wanted.complete
    if fallback != "drop":
        assert float(found.single.abs().sum()) > 1


def test_what_lands_on_padding_keeps_the_precision_of_the_bias() -> None:
    maps = []
    for after in (None, torch.float16):
        network = Padded((2, 1, 3, 0), by_cat=False).double()
        x = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
        with torch.no_grad():
            network(x)
        torch.manual_seed(2)
        nn.init.normal_(network.head.weight)
        network.after = after
        maps.append(bm.BiasBackprop(network.eval(), "uniform").explain(x, 0).single)
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-9, atol=1e-12)
