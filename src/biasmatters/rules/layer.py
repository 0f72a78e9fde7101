"""A layer's exponents, tau and slopes, as the direct forms of the softmax rules take them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biasmatters.affine.masks import barrier, largest
from biasmatters.affine.mixing import Connections

# In powers of two: what may stand without looking for the largest; what counts as nothing beside
# the largest, far below round-off; and where all exponents are negative and the largest is not
# looked for, what counts as nothing, and the sum below which that would show.
SAFE, NOTHING, TINY = 40.0, -64.0, -100.0
WEAK = 2.0**-36


@dataclass(frozen=True)
class Layer:
    """What the blocks of a layer are cut from: exponents, to be multiplied by sizes and a rate.

    Attributes:
        exponents: Like the laid-out input: x, or its size, or minus that. Where x is 0 and the
            connection absent, a size is -inf.
        tau: Bias of the units.
        steep: Like tau, what the exponents of a unit are multiplied by; None for 1.
        gains: The same, where it is one number for each unit, in a shape that broadcasts to tau.
        signed: Whether coefficients keep their sign.
        largest: Of the exponents' sizes.
        falls: Whether no exponent is positive, and units can be listed.
        rate: ``log2(e) / T``, by which all exponents are multiplied in the end.
    """

    exponents: Tensor
    tau: Tensor
    steep: Tensor | None
    gains: Tensor | None
    signed: bool
    largest: float
    falls: bool
    rate: float

    def sizes(self, coefficients: Tensor, gains: Tensor | None) -> Sizes:
        """What exponents are multiplied by, connection by connection.

        Args:
            coefficients: Of the map.
            gains: The layer's, in a shape that broadcasts to the coefficients.
        """
        m = coefficients.clone() if self.signed else coefficients.abs()
        least, most = (float(v) for v in m.aminmax()) if m.numel() else (1.0, 1.0)
        absent = coefficients == 0 if least <= 0 and bool((m == 0).any()) else None
        if gains is not None and m.numel():
            m.mul_(gains)
            least, most = (float(v) for v in m.aminmax())
        reach = self.largest * max(most, -least) * self.rate
        reach = reach if self.steep is None else reach * largest(self.steep)
        limits = torch.finfo(m.dtype)
        out_of_range = most * self.rate > limits.max or 0 < least * self.rate < limits.tiny
        late = out_of_range or (not reach <= SAFE and not self.falls)
        if not late:
            m.mul_(self.rate)
            if not self.signed and least * self.rate < limits.tiny:  # it is not absent
                m.clamp_min_(limits.tiny)
        if absent is not None and self.falls:
            m.masked_fill_(absent, torch.inf)
            absent = None
        return Sizes(m, absent, reach, late)

    def gains_of(self, links: Connections) -> Tensor | None:
        """The gains as the connections have their units, ``(1, G, P, 1, 1)``."""
        if self.gains is None:
            return None
        return links.units(self.gains.expand_as(self.tau))[:1, :, :, None, :1]

    def absent(self, exponents: Tensor) -> Tensor | None:
        """What to add to exponents of that many connections: -inf where one is absent.

        None where the exponents say so themselves.
        """
        if not self.signed:
            return None
        return barrier(exponents, -torch.inf).clamp_max_(0)

    def part(self, inputs: tuple[slice, ...], outputs: tuple[slice, ...]) -> Layer:
        """A tile of it."""
        return replace(
            self,
            exponents=self.exponents[inputs],
            tau=self.tau[outputs],
            steep=None if self.steep is None else self.steep[outputs],
            gains=None if self.gains is None else cut(self.gains, outputs),
        )


@dataclass(frozen=True)
class Sizes:
    """What exponents are multiplied by.

    Attributes:
        values: Like the coefficients; infinite where all exponents fall and a connection is absent.
        absent: Where else a connection is absent, or None.
        reach: No exponent is larger in size, in powers of two.
        late: Whether the rate has to wait until each unit's largest exponent is 0.
    """

    values: Tensor
    absent: Tensor | None
    reach: float
    late: bool

    def table(self, group: int) -> Sizes:
        """``(P, K)`` of a group, out of ``(1, G, P, K, 1)``."""
        absent = None if self.absent is None else self.absent[0, group, :, :, 0]
        return replace(self, values=self.values[0, group, :, :, 0], absent=absent)


def cut(tensor: Tensor, span: tuple[slice, ...]) -> Tensor:
    """A part of a tensor whose axes of size 1 are broadcast."""
    whole = slice(None)
    return tensor[tuple(whole if n == 1 else s for n, s in zip(tensor.shape, span, strict=False))]


class Shares:
    """What each unit hands out for ``2^e`` of 1, and the tau that it does not hand out here.

    Args:
        e: Exponents, turned into powers in place.
        dim: The axis of one unit's connections.
        tau: Bias of the units.
        layer: The layer they belong to.
        sizes: What the exponents were multiplied by.
    """

    def __init__(self, e: Tensor, dim: int, tau: Tensor, layer: Layer, sizes: Sizes) -> None:
        far = not sizes.reach <= SAFE and not sizes.late
        if sizes.late:
            keep_in_range(e, dim, layer.rate)
        elif far:
            torch.threshold_(e, TINY, -torch.inf)
        whole = e.exp2_().sum(dim)
        self.left: Tensor | None = None
        least = float(whole.amin()) if whole.numel() else 1.0
        if far and least < WEAK:
            lost = whole < WEAK
            left = tau.where(lost, 0)
            if bool(left.any()):
                self.left, tau = left, tau.masked_fill(lost, 0)
        self.each = tau / whole
        if least == 0:
            self.each.masked_fill_(whole == 0, 0)


def keep_in_range(e: Tensor, dim: int, rate: float) -> None:
    """Bring each unit's largest exponent to 0, then apply the rate, in place.

    In that order no rate takes the largest out of the number format. What is nothing beside the
    largest becomes -inf.
    """
    e.sub_(e.amax(dim, keepdim=True).clamp_min(torch.finfo(e.dtype).min)).mul_(rate)
    torch.threshold_(e, NOTHING, -torch.inf)
