"""A layer's exponents, tau and slopes, as the direct forms of the softmax rules take them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# In powers of two: what may stand without looking for the largest; what counts as nothing beside
# the largest, far below round-off; and where all exponents are negative and the largest is not
# looked for, what counts as nothing, and the sum below which that would show.
SAFE, NOTHING, TINY = 40.0, -64.0, -100.0
WEAK = 2.0**-36


@dataclass(frozen=True)
class Layer:
    """What the blocks of a layer are cut from, in powers of two.

    Attributes:
        exponents: Like the laid-out input: ``x / T``, or its size, or minus that.
        absent: Like it, -inf where a connection is absent, else 0; None where the exponents say so.
        tau: Bias of the units.
        steep: Like tau, what the exponents of a unit are multiplied by; None for 1.
        signed: Whether coefficients keep their sign.
        largest: Of the exponents' sizes.
        falls: Whether no exponent is positive, and units can be listed.
    """

    exponents: Tensor
    absent: Tensor | None
    tau: Tensor
    steep: Tensor | None
    signed: bool
    largest: float
    falls: bool

    def reach(self, sizes: Tensor, steep: Tensor | None) -> float:
        """No exponent is larger in size, for some coefficients and slopes."""
        found = self.largest * largest(sizes)
        return found if steep is None else found * largest(steep)

    def part(self, inputs: tuple[slice, ...], outputs: tuple[slice, ...]) -> Layer:
        """A tile of it."""
        return replace(
            self,
            exponents=self.exponents[inputs],
            absent=None if self.absent is None else self.absent[inputs],
            tau=self.tau[outputs],
            steep=None if self.steep is None else self.steep[outputs],
        )


def largest(values: Tensor) -> float:
    """The largest size of an entry, 0 of none."""
    return float(values.abs().amax()) if values.numel() else 0.0


class Shares:
    """What each unit hands out for ``2^e`` of 1, and the tau that it does not hand out here.

    Args:
        e: Exponents, turned into powers in place.
        dim: The axis of one unit's connections.
        tau: Bias of the units.
        layer: The layer they belong to.
        reach: No exponent is larger in size.
    """

    def __init__(self, e: Tensor, dim: int, tau: Tensor, layer: Layer, reach: float) -> None:
        far = not reach <= SAFE
        if far and layer.falls:
            torch.threshold_(e, TINY, -torch.inf)
        elif far:
            keep_in_range(e, dim)
        whole = e.exp2_().sum(dim)
        self.left: Tensor | None = None
        if far and layer.falls:
            lost = whole < WEAK
            left = tau.where(lost, 0)
            if bool(left.any()):
                self.left, tau = left, tau.masked_fill(lost, 0)
        self.each = (tau / whole).masked_fill_(whole == 0, 0)


def keep_in_range(e: Tensor, dim: int) -> None:
    """Bring each unit's largest exponent to 0, and what is nothing beside it to -inf, in place."""
    e.sub_(e.amax(dim, keepdim=True).clamp_min(torch.finfo(e.dtype).min))
    torch.threshold_(e, NOTHING, -torch.inf)
