"""The direct form: a rule applied connection by connection, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.mixing import Connections, Mixing, Tile, Tileable

Alpha = Callable[[Tensor, Tensor, Tensor, int], Tensor]
MAX_ELEMENTS = 1 << 17


@dataclass(frozen=True)
class Block:
    """Some units' connections.

    Attributes:
        rows: Which of the batch.
        e: ``(B, G, P, K, L)`` contributions.
        present: Like e: whether the connection exists and carries something.
        tau: ``(B, G, P, 1, L)`` bias of the units.
    """

    rows: slice
    e: Tensor
    present: Tensor
    tau: Tensor


def split_directly(
    alpha: Alpha,
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """``sum_p alpha[p, q] tau[p]`` with every alpha written out.

    Args:
        alpha: `Rule.alpha`.
        mixing: The linear map.
        x: Its input.
        tau: Like its output.
        scale: As in `Rule.split`.
        max_elements: Connections held at a time (at least one unit's for each place).
    """
    wide = laid_out(mixing, x)
    total = torch.zeros_like(wide)
    for tile in tiles(mixing, x, tau, max_elements):
        links = tile.mixing.connections(wide[tile.inputs])
        part = torch.zeros_like(links.inputs)
        for block in blocks(links, tau[tile.outputs], _part(scale, tau, tile), max_elements):
            weights = alpha(block.e, block.present, block.tau, 3)
            part[block.rows] += (weights * block.tau).sum(2)
        total[tile.inputs] += links.scatter(part)
    return taken_up(mixing, total, x.shape)


def every_block(
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
    max_elements: int = MAX_ELEMENTS,
) -> Iterator[Block]:
    """All connections of a map, tile by tile and block by block."""
    wide = laid_out(mixing, x)
    for tile in tiles(mixing, x, tau, max_elements):
        links = tile.mixing.connections(wide[tile.inputs])
        yield from blocks(links, tau[tile.outputs], _part(scale, tau, tile), max_elements)


def laid_out(mixing: Mixing, x: Tensor) -> Tensor:
    """The input as the tiles of a map cut it up."""
    return mixing.lay_out(x) if isinstance(mixing, Tileable) else x


def taken_up(mixing: Mixing, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Transpose of `laid_out`, for an input of a shape."""
    return mixing.take_up(values, shape) if isinstance(mixing, Tileable) else values


def tiles(mixing: Mixing, x: Tensor, tau: Tensor, limit: int) -> Iterator[Tile]:
    """The tiles of a map, one if it has none of its own."""
    if isinstance(mixing, Tileable):
        yield from mixing.tiles(x, tau, limit)
    else:
        yield Tile(mixing, (...,), (...,))


def _part(scale: Tensor | None, tau: Tensor, tile: Tile) -> Tensor | None:
    return None if scale is None else scale.expand_as(tau)[tile.outputs]


def blocks(
    links: Connections, tau: Tensor, scale: Tensor | None, max_elements: int
) -> Iterator[Block]:
    """Go through all connections in blocks of at most ``max_elements``, or one unit's at least."""
    t_all = links.units(tau)
    s_all = None if scale is None else links.units(scale.expand_as(tau).contiguous())
    batch, groups, inner, places = links.inputs.shape
    units = t_all.shape[2]
    per_unit = groups * inner * places
    unit_step = max(1, min(units, max_elements // max(per_unit, 1)))
    row_step = max(1, min(batch, max_elements // max(per_unit * unit_step, 1)))
    wide = links.coefficients.shape[0] > 1
    for row in range(0, batch, row_step):
        rows = slice(row, row + row_step)
        values = links.inputs[rows].unsqueeze(2)
        for unit in range(0, units, unit_step):
            span = slice(unit, unit + unit_step)
            m = links.coefficients[rows if wide else slice(None), :, span]
            e = m * values
            present = (m != 0) & (values != 0)
            if s_all is not None:
                s = s_all[rows, :, span].unsqueeze(3)
                e = e * s
                present = present & (s != 0)
            yield Block(rows, e, present, t_all[rows, :, span].unsqueeze(3))
