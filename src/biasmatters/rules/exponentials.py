"""The direct form of the rules ``exp(-|e| / T)``, ``exp(+|e| / T)`` and ``exp(+-e / T)``.

A connection that is absent has the exponent minus infinity, so no mask is carried along, and the
largest exponent of a unit is only looked for where one could leave the range of the number format.
Exponents are powers of two and stay out of the denormal numbers, for which processors take a
hundred times longer. Memory that is used again is not asked for again, so the layer goes by tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from biasmatters.affine.mixing import Mixing, Tileable, ranges
from biasmatters.rules.depthwise import is_depthwise, split_depthwise
from biasmatters.rules.direct import laid_out, taken_up, tiles
from biasmatters.rules.layer import Layer, Shares, largest
from biasmatters.rules.sparse import few, split_sparsely

# Connections in a block for each thread, and gathered inputs at a time.
BLOCK = 1 << 17
GATHERED = 1 << 19
Span = tuple[slice, slice, slice, slice]


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
    wide = laid_out(mixing, x)
    exponents = wide.abs() * (sign / temperature * math.log2(math.e))
    most = largest(exponents)
    exponents.masked_fill_(wide == 0, -torch.inf)
    steep = None if scale is None else _steepness(scale.abs(), tau)
    falls = sign < 0 and isinstance(mixing, Tileable)
    return _tiled(mixing, x, Layer(exponents, None, tau, steep, False, most, falls))


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
    wide = laid_out(mixing, x)
    exponents = wide * (math.log2(math.e) / temperature)
    absent = torch.zeros_like(wide).masked_fill_(wide == 0, -torch.inf)
    steep = _steepness(tau.sign() if scale is None else tau.sign() * scale, tau)
    layer = Layer(exponents, absent, tau, steep, True, largest(exponents), False)
    return _tiled(mixing, x, layer)


def _steepness(values: Tensor, tau: Tensor) -> Tensor | None:
    """By unit, 1 where it is 0 (no bias is there); None where it is 1 throughout."""
    values = values.expand_as(tau)
    values = values.masked_fill(values == 0, 1)
    return None if bool((values == 1).all()) else values.contiguous()


def _tiled(mixing: Mixing, x: Tensor, layer: Layer) -> Tensor:
    if isinstance(mixing, Tileable) and few(layer.tau):
        return mixing.take_up(split_sparsely(mixing, layer), x.shape)
    total = torch.zeros_like(layer.exponents)
    weak: list[tuple[tuple[slice, ...], Tensor]] = []
    for tile in tiles(mixing, x, layer.tau, GATHERED * torch.get_num_threads()):
        part = layer.part(tile.inputs, tile.outputs)
        if is_depthwise(tile.mixing):
            beta, left = split_depthwise(tile.mixing, part)
        else:
            beta, left = _split(tile.mixing, part)
        total[tile.inputs] += beta
        if left is not None:
            weak.append((tile.outputs, left))
    if weak and isinstance(mixing, Tileable):
        rest = torch.zeros_like(layer.tau)
        for outputs, left in weak:
            rest[outputs] = left.reshape(rest[outputs].shape)
        total += split_sparsely(mixing, replace(layer, tau=rest))
    return taken_up(mixing, total, x.shape)


def _split(mixing: Mixing, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The split like the exponents, and the tau of units whose contributions are all tiny."""
    links = mixing.connections(layer.exponents)
    absent = None if layer.absent is None else mixing.connections(layer.absent).inputs
    units = links.units(layer.tau)
    sizes = links.coefficients if layer.signed else links.coefficients.abs()
    steep = None if layer.steep is None else links.units(layer.steep)
    reach = layer.reach(sizes, steep)
    holes, left = bool((sizes == 0).any()), torch.zeros_like(units)
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
        shares = Shares(e, 3, units[rows, groups, some, places], layer, reach)
        if shares.left is not None:
            left[rows, groups, some, places] = shares.left
        _add(total[rows, groups, :, places], e, shares.each.unsqueeze(3))
    return links.scatter(total), left if bool(left.any()) else None


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
