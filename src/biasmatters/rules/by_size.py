"""The rules ``exp(-|e| / T)`` and ``exp(+|e| / T)`` in the cheapest form that is exact enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.masks import any_left, kept, present
from biasmatters.affine.mixing import Band, Lost, Mixing, Stackable, ranges
from biasmatters.rules import exponentials
from biasmatters.rules.expanded import Units, split_expanded
from biasmatters.rules.in_cache import split_in_cache
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.on_gpu import By, split_on_gpu
from biasmatters.rules.plan import Plan, make_plans
from biasmatters.rules.softmax import contributions, live_by, live_units, tolerance_for

# Numbers that the features, or the outputs, of a band hold for each thread.
BAND = 1 << 19
# Numbers in a weight whose tables, of as many numbers for each product of an expansion, are held.
ROOM = 1 << 20
# What inputs get, which units are live, and the tau that is left.
Part = tuple[Tensor, Tensor, Tensor | None]


def split_by_size(
    sign: int,
    temperature: float,
    tolerance: float | None,
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor | Lost]:
    """`Rule.split` for ``alpha ~ 1[e != 0] exp(sign |e| / T)``.

    Layers with shared coefficients go by an expansion where that is cheaper, band by band. The
    others, and units for which an expansion is too coarse, go connection by connection, as all do
    that a GPU has kernels for: there an exponential is as cheap as a product of an expansion.
    """
    by: By = "weak" if sign < 0 else "strong"
    on_gpu = split_on_gpu(by, temperature, mixing, x, tau, scale)
    if on_gpu is not None:
        return on_gpu
    found = split_in_cache(sign, temperature, mixing, x, tau, scale)
    if found is not None:
        return found
    split = partial(_split, sign, temperature, tolerance_for(tolerance, x.dtype))
    if isinstance(mixing, ConvMap) and mixing.groups == 1 and mixing.weight.numel() > ROOM:
        return _by_units(split, mixing, x, tau, scale)
    return split(mixing, x, tau, scale)


def _split(
    sign: int,
    temperature: float,
    bound: float,
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """By an expansion, and connection by connection what it leaves."""
    plans: list[Plan] = []
    beta: Tensor | None = None
    if bound and isinstance(mixing, Stackable) and x.ndim > 1 and x.numel():
        plans = make_plans(sign, temperature, bound, mixing, x, tau, scale)
    if plans and isinstance(mixing, Stackable):
        beta, live, rest = _by_bands(plans, bound, mixing, x, tau, scale)
        if rest is None or not any_left(rest):
            return beta, live
    else:
        _, live = live_units(mixing, x, scale)
        rest = kept(tau, live)
    if listening():
        note(Choice("direct", _covered(mixing, x, rest)))
    found = exponentials.split_by_size(sign, temperature, mixing, x, rest, scale)
    return found if beta is None else found.add_(beta), live


def _by_units(
    split: Callable[[Mixing, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]],
    conv: ConvMap,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Some units at a time, so that the tables of their weights fit."""
    step = max(1, ROOM // conv.weight[0].numel())
    total, live = torch.zeros_like(x), torch.empty_like(tau)
    for rows in ranges(len(conv.weight), step):
        part = replace(conv, weight=conv.weight[rows])
        slopes = None if scale is None else scale.expand_as(tau)[:, rows]
        beta, live[:, rows] = split(part, x, tau[:, rows], slopes)
        total += beta
    return total, live


def _by_bands(
    plans: list[Plan],
    tolerance: float,
    mixing: Stackable,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> Part:
    """What the expansions hand out, which units are live, and the tau that is left."""
    wide = mixing.padded(x)
    slopes = None if scale is None else scale.expand_as(tau)
    rank = max(plan.expansion.rank for plan in plans)
    most = max(BAND * torch.get_num_threads(), rank * mixing.weight.numel())
    held = max(rank, math.ceil(tau.numel() / x.numel()))
    bands = list(mixing.bands(x, tau, most // held))
    parts = (_band(plans, tolerance, band, wide, tau, slopes) for band in bands)
    total, live, rest = _joined(bands, parts, wide, tau)
    if listening():
        handed = kept(tau, live)
        _note(plans, mixing, x, handed if rest is None else handed - rest)
    return mixing.cropped(total, x.shape), live, rest


def _band(
    plans: list[Plan],
    tolerance: float,
    band: Band,
    wide: Tensor,
    tau: Tensor,
    slopes: Tensor | None,
) -> Part:
    inputs, left = wide[band.inputs], tau[band.outputs]
    some = None if slopes is None else slopes[band.outputs]
    counting = band.mixing.power(0, inputs)
    there = present(inputs)
    count = counting.forward(there)
    live = live_by(count, some)
    left = kept(left, live)
    total: Tensor | None = None
    for plan in plans:
        part = left if plan.everywhere else kept(left, plan.covers(some))
        units = Units(part, there, counting, count)
        beta, missed = split_expanded(plan, band.mixing, inputs, units, tolerance)
        total = beta if total is None else total.add_(beta)
        if plan.everywhere:
            return beta, live, missed
        left = left - part if missed is None else left - part + missed
    return torch.zeros_like(inputs) if total is None else total, live, left


def _joined(
    bands: list[Band],
    parts: Iterator[Part],
    wide: Tensor,
    tau: Tensor,
) -> Part:
    """What the bands hand out, which units are live and what is left, of the whole layer."""
    if len(bands) == 1 and wide[bands[0].inputs].shape == wide.shape:
        return next(parts)
    total = torch.zeros_like(wide)
    live = torch.zeros_like(tau)
    rest: Tensor | None = None
    for band, (beta, here, left) in zip(bands, parts, strict=True):
        total[band.inputs] += beta
        live[band.outputs] = here
        if left is not None:
            rest = torch.zeros_like(tau) if rest is None else rest
            rest[band.outputs] = left
    return total, live, rest


def _note(plans: list[Plan], mixing: Mixing, x: Tensor, tau: Tensor) -> None:
    reach = max(plan.reach for plan in plans)
    rank = max(plan.expansion.rank for plan in plans)
    bound = max(plan.expansion.bound for plan in plans)
    note(Choice("expansion", _covered(mixing, x, tau), reach, rank, bound))


def _covered(mixing: Mixing, x: Tensor, tau: Tensor) -> int:
    """How many contributions the units with bias have."""
    return contributions(live_units(mixing, x, None)[0], tau)
