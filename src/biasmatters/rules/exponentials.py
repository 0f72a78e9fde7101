"""The direct form of the rules ``exp(-|e| / T)``, ``exp(+|e| / T)`` and ``exp(+-e / T)``.

A connection that is absent has the exponent minus infinity, so no mask is carried along, and the
largest exponent of a unit is only looked for where one could leave the range of the number format.
Exponents are powers of two and stay out of the denormal numbers, for which processors take a
hundred times longer. Memory that is used again is not asked for again, so the layer goes by tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biasmatters.affine.mixing import Mixing, Tileable, ranges
from biasmatters.rules.direct import tiles

# Connections in a block for each thread, and gathered inputs at a time.
BLOCK = 1 << 16
GATHERED = 1 << 19
# In powers of two: what may stand without looking for the largest, and what counts as nothing
# beside the largest, far below round-off.
SAFE, NOTHING = 85.0, -64.0

Span = tuple[slice, slice, slice, slice]


@dataclass(frozen=True)
class _Layer:
    """What the blocks of a layer are cut from, in powers of two.

    Attributes:
        exponents: Like the laid-out input: ``x / T``, or its size, or minus that.
        absent: Like it, -inf where a connection is absent, else 0; None where the exponents say so.
        tau: Bias of the units.
        steep: Like tau, what the exponents of a unit are multiplied by; None for 1.
        signed: Whether coefficients keep their sign.
        largest: Of the exponents' sizes.
    """

    exponents: Tensor
    absent: Tensor | None
    tau: Tensor
    steep: Tensor | None
    signed: bool
    largest: float

    def part(self, inputs: tuple[slice, ...], outputs: tuple[slice, ...]) -> _Layer:
        """A tile of it."""
        return replace(
            self,
            exponents=self.exponents[inputs],
            absent=None if self.absent is None else self.absent[inputs],
            tau=self.tau[outputs],
            steep=None if self.steep is None else self.steep[outputs],
        )


def split_by_size(
    sign: int, temperature: float, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> Tensor:
    """``sum_p alpha[p, q] tau[p]`` with ``alpha ~ 1[e != 0] exp(sign |e| / T)``.

    Args:
        sign: -1 or +1.
        temperature: T.
        mixing: The linear map M.
        x: Its input.
        tau: Like its output; 0 for units without any contribution.
        scale: As in `Rule.split`.
    """
    wide = _laid_out(mixing, x)
    exponents = wide.abs() * (sign / temperature * math.log2(math.e))
    largest = _size(exponents)
    exponents.masked_fill_(wide == 0, -torch.inf)
    steep = None if scale is None else _steepness(scale.abs(), tau)
    return _tiled(mixing, x, _Layer(exponents, None, tau, steep, False, largest))


def split_by_value(
    temperature: float, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> Tensor:
    """``sum_p alpha[p, q] tau[p]`` with ``alpha ~ 1[e != 0] exp(e sign(tau[p]) / T)``.

    Args:
        temperature: T.
        mixing: The linear map M.
        x: Its input.
        tau: Like its output; 0 for units without any contribution.
        scale: As in `Rule.split`.
    """
    wide = _laid_out(mixing, x)
    exponents = wide * (math.log2(math.e) / temperature)
    absent = torch.zeros_like(wide).masked_fill_(wide == 0, -torch.inf)
    steep = _steepness(tau.sign() if scale is None else tau.sign() * scale, tau)
    layer = _Layer(exponents, absent, tau, steep, True, _size(exponents))
    return _tiled(mixing, x, layer)


def _laid_out(mixing: Mixing, x: Tensor) -> Tensor:
    return mixing.lay_out(x) if isinstance(mixing, Tileable) else x


def _size(exponents: Tensor) -> float:
    return float(exponents.abs().amax()) if exponents.numel() else 0.0


def _steepness(values: Tensor, tau: Tensor) -> Tensor | None:
    """By unit, 1 where it is 0 (no bias is there); None where it is 1 throughout."""
    values = values.expand_as(tau)
    values = values.masked_fill(values == 0, 1)
    return None if bool((values == 1).all()) else values.contiguous()


def _tiled(mixing: Mixing, x: Tensor, layer: _Layer) -> Tensor:
    total = torch.zeros_like(layer.exponents)
    for tile in tiles(mixing, x, layer.tau, GATHERED * torch.get_num_threads()):
        total[tile.inputs] += _split(tile.mixing, layer.part(tile.inputs, tile.outputs))
    return mixing.take_up(total, x.shape) if isinstance(mixing, Tileable) else total


def _split(mixing: Mixing, layer: _Layer) -> Tensor:
    links = mixing.connections(layer.exponents)
    absent = None if layer.absent is None else mixing.connections(layer.absent).inputs
    units = links.units(layer.tau)
    sizes = links.coefficients if layer.signed else links.coefficients.abs()
    steep = None if layer.steep is None else links.units(layer.steep)
    reach = layer.largest * _size(sizes) * (1.0 if steep is None else _size(steep))
    holes = bool((sizes == 0).any())
    total = torch.zeros_like(links.inputs)
    for rows, groups, some, places in _spans(links.inputs.shape, units.shape[2]):
        m = _cut(sizes, (rows, groups, some, slice(None), places))
        e = m * links.inputs[rows, groups, :, places].unsqueeze(2)
        if steep is not None:
            e.mul_(steep[rows, groups, some, places].unsqueeze(3))
        if absent is not None:
            e.add_(absent[rows, groups, :, places].unsqueeze(2))
        if holes:
            e.masked_fill_(m == 0, -torch.inf)
        if not reach <= SAFE:
            e.sub_(e.amax(3, keepdim=True).clamp_min(torch.finfo(e.dtype).min))
            torch.threshold_(e, NOTHING, -torch.inf)
        whole = e.exp2_().sum(3)
        share = (units[rows, groups, some, places] / whole).masked_fill_(whole == 0, 0)
        _add(total[rows, groups, :, places], e, share.unsqueeze(3))
    return links.scatter(total)


def _add(total: Tensor, e: Tensor, share: Tensor) -> None:
    """Add ``sum_p e share`` in place."""
    if e.shape[2] == 1:
        total.addcmul_(e.squeeze(2), share.squeeze(2))
    else:
        total += e.mul_(share).sum(2)


def _cut(tensor: Tensor, span: tuple[slice, ...]) -> Tensor:
    """A part of a tensor whose axes of size 1 are broadcast."""
    whole = slice(None)
    return tensor[tuple(whole if n == 1 else s for n, s in zip(tensor.shape, span, strict=True))]


def _spans(shape: torch.Size, units: int) -> Iterator[Span]:
    """Blocks of samples, groups, units and places, the last as long as they can be."""
    batch, groups, inner, places = shape
    left = max(BLOCK * torch.get_num_threads() // max(inner, 1), 1)
    steps = []
    for size in (places, units, groups, batch):
        steps.append(max(1, min(size, left)))
        left = left // size if left >= size > 0 else 1
    for row in ranges(batch, steps[3]):
        for group in ranges(groups, steps[2]):
            for unit in ranges(units, steps[1]):
                for place in ranges(places, steps[0]):
                    yield row, group, unit, place
