"""The direct form of the rules ``exp(-|e| / T)`` and ``exp(+|e| / T)``, in cache-sized blocks.

A connection that is absent has the exponent minus infinity, so no mask is carried along, and the
largest exponent of a unit is only looked for where one could leave the range of the number format.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from biasmatters.affine.mixing import Connections, Mixing

MAX_ELEMENTS = 1 << 18
SAFE_EXPONENT = 60.0


def split_exponentially(
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
    links = mixing.connections(x)
    exponent = links.inputs.abs() * (sign / temperature)
    exponent.masked_fill_((links.inputs == 0) | ~links.real, -torch.inf)
    sizes = links.coefficients.abs()
    holes = bool((sizes == 0).any())
    units = links.units(tau)
    slopes = None if scale is None else _slopes(links, scale, tau)
    stable = _reach(sizes, links.inputs, slopes) / temperature > SAFE_EXPONENT
    total = torch.zeros_like(links.inputs)
    for rows, span, places in _spans(exponent.shape, units.shape[2]):
        m = sizes[rows if len(sizes) > 1 else slice(None), :, span]
        m = m if m.shape[-1] == 1 else m[..., places]
        e = m * exponent[rows, :, :, places].unsqueeze(2)
        if slopes is not None:
            e.mul_(slopes[rows, :, span, places].unsqueeze(3))
        if holes:
            e.masked_fill_(m == 0, -torch.inf)
        if stable:
            e.sub_(e.amax(3, keepdim=True).clamp_min(torch.finfo(e.dtype).min))
        e.exp_()
        whole = e.sum(3)
        share = (units[rows, :, span, places] / whole).where(whole > 0, 0)
        total[rows, :, :, places] += e.mul_(share.unsqueeze(3)).sum(2)
    return links.scatter(total)


def _slopes(links: Connections, scale: Tensor, tau: Tensor) -> Tensor | None:
    """``|scale|`` by unit, 1 where it is 0 (no bias is there); None where it is 1 throughout."""
    size = scale.abs().expand_as(tau)
    size = size.masked_fill(size == 0, 1)
    return None if bool((size == 1).all()) else links.units(size.contiguous())


def _reach(sizes: Tensor, inputs: Tensor, slopes: Tensor | None) -> float:
    """No ``|e|`` is larger."""
    if not inputs.numel():
        return 0.0
    largest = float(sizes.amax()) * float(inputs.abs().amax())
    return largest if slopes is None else largest * float(slopes.amax())


def _spans(shape: torch.Size, units: int) -> Iterator[tuple[slice, slice, slice]]:
    """Blocks of samples, units and places with at most ``MAX_ELEMENTS`` connections."""
    batch, groups, inner, places = shape
    each = max(groups * inner, 1)
    place_step = max(1, min(places, MAX_ELEMENTS // each))
    unit_step = max(1, min(units, MAX_ELEMENTS // (each * place_step)))
    row_step = max(1, min(batch, MAX_ELEMENTS // (each * place_step * unit_step)))
    for row in range(0, batch, row_step):
        for unit in range(0, units, unit_step):
            for place in range(0, places, place_step):
                yield (
                    slice(row, row + row_step),
                    slice(unit, unit + unit_step),
                    slice(place, place + place_step),
                )
