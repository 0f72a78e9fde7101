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

from biasmatters.affine.maps.depthwise import channels_last, is_depthwise
from biasmatters.affine.masks import all_present, any_left, barrier, differs, largest, present
from biasmatters.affine.mixing import Connections, Mixing, Stackable, Tileable, ranges
from biasmatters.rules.depthwise import split_depthwise
from biasmatters.rules.direct import laid_out, taken_up, tiles
from biasmatters.rules.layer import Layer, Shares, cut
from biasmatters.rules.rows import has_rows, split_by_rows
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
    wide, tau = _in_order(mixing, x, tau)
    exponents = barrier(wide, sign * -torch.inf).mul_(sign)
    steep, gains = _steepness(mixing, None if scale is None else scale.abs(), tau)
    layer = Layer(
        exponents,
        tau,
        steep,
        gains,
        signed=False,
        largest=largest(wide),
        falls=sign < 0 and isinstance(mixing, Tileable),
        rate=_rate(temperature, x),
    )
    return _tiled(mixing, x, layer)


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
    wide, tau = _in_order(mixing, x, tau)
    steep, gains = _steepness(mixing, tau.sign() if scale is None else tau.sign() * scale, tau)
    layer = Layer(
        wide,
        tau,
        steep,
        gains,
        signed=True,
        largest=largest(wide),
        falls=False,
        rate=_rate(temperature, x),
    )
    return _tiled(mixing, x, layer)


def _in_order(mixing: Mixing, x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """The laid-out input and tau, in the order of memory that suits the map."""
    wide = laid_out(mixing, x)
    return (channels_last(wide), channels_last(tau)) if is_depthwise(mixing) else (wide, tau)


def _rate(temperature: float, x: Tensor) -> float:
    """In the range of the number format."""
    limits = torch.finfo(x.dtype)
    return min(max(math.log2(math.e) / temperature, limits.tiny), limits.max)


def _steepness(
    mixing: Mixing, values: Tensor | None, tau: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """By unit and place, or by unit alone where that is enough; None where it is 1 throughout.

    Where no bias is any number will do.
    """
    if values is None:
        return None, None
    values = values.expand_as(tau)
    if isinstance(mixing, Stackable) and tau.ndim > 1 and tau.numel():
        axis = mixing.unit_axis % tau.ndim
        gains = values.amax([a for a in range(tau.ndim) if a != axis], keepdim=True)
        if not any_left(differs(values, gains).mul_(present(tau))):
            gains = gains.masked_fill(gains == 0, 1)
            return None, None if bool((gains == 1).all()) else gains
    busy = present(values).mul_(present(tau))
    values = values.contiguous() if all_present(busy) else torch.where(busy > 0, values, 1)
    return (values, None) if any_left(values - 1) else (None, None)


def _tiled(mixing: Mixing, x: Tensor, layer: Layer) -> Tensor:
    if isinstance(mixing, Tileable) and few(layer.tau) and not has_rows(mixing):
        return mixing.take_up(split_sparsely(mixing, layer), x.shape)
    total = torch.zeros_like(layer.exponents)
    weak: list[tuple[tuple[slice, ...], Tensor]] = []
    limit = GATHERED * torch.get_num_threads() * (2 if is_depthwise(mixing) else 1)
    for tile in tiles(mixing, x, layer.tau, limit):
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
    if has_rows(mixing):
        total, left = split_by_rows(links, layer)
    else:
        total, left = _split_by_places(links, layer)
    return links.scatter(total), left


def _split_by_places(links: Connections, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The split like the inputs of the connections, with places innermost, and what is left."""
    units, absent = links.units(layer.tau), layer.absent(links.inputs)
    sizes = layer.sizes(links.coefficients, layer.gains_of(links))
    steep = None if layer.steep is None else links.units(layer.steep)
    total, left = torch.zeros_like(links.inputs), torch.zeros_like(units)
    for rows, groups, some, places in _spans(links.inputs.shape, units.shape[2]):
        span = (rows, groups, some, slice(None), places)
        e = cut(sizes.values, span) * links.inputs[rows, groups, :, places].unsqueeze(2)
        if steep is not None:
            e.mul_(steep[rows, groups, some, places].unsqueeze(3))
        if absent is not None:
            e.add_(absent[rows, groups, :, places].unsqueeze(2))
        if sizes.absent is not None:
            e.masked_fill_(cut(sizes.absent, span), -torch.inf)
        shares = Shares(e, 3, units[rows, groups, some, places], layer, sizes)
        if shares.left is not None:
            left[rows, groups, some, places] = shares.left
        _add(total[rows, groups, :, places], e, shares.each.unsqueeze(3))
    return total, left if any_left(left) else None


def _add(total: Tensor, e: Tensor, share: Tensor) -> None:
    """Add ``sum_p e share`` in place."""
    if e.shape[2] == 1:
        total.addcmul_(e.squeeze(2), share.squeeze(2))
    else:
        total += e.mul_(share).sum(2)


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
