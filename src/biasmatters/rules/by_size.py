"""The rules ``exp(-|e| / T)`` and ``exp(+|e| / T)`` in the cheapest form that is exact enough."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.mixing import Mixing, Stackable
from biasmatters.rules import exponentials
from biasmatters.rules.expanded import Units, split_expanded
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.plan import Plan, make_plans
from biasmatters.rules.softmax import contributions, live_by, live_units, tolerance_for

# Numbers that the features of a band hold for each thread.
BAND = 1 << 20


def split_by_size(
    sign: int,
    temperature: float,
    tolerance: float | None,
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """`Rule.split` for ``alpha ~ 1[e != 0] exp(sign |e| / T)``.

    Layers with shared coefficients go by an expansion where that is cheaper, band by band. The
    others, and units for which an expansion is too coarse, go connection by connection.
    """
    bound = tolerance_for(tolerance, x.dtype)
    plans: list[Plan] = []
    if bound and isinstance(mixing, Stackable) and x.ndim > 1 and x.numel():
        plans = make_plans(sign, temperature, bound, mixing, x, tau, scale)
    if plans and isinstance(mixing, Stackable):
        beta, live, rest = _by_bands(plans, bound, mixing, x, tau, scale)
    else:
        _, live = live_units(mixing, x, scale)
        rest, beta = tau.where(live, 0), None
    if beta is None or bool(rest.any()):
        if listening():
            note(Choice("direct", _covered(mixing, x, rest)))
        found = exponentials.split_by_size(sign, temperature, mixing, x, rest, scale)
        beta = found if beta is None else beta.add_(found)
    return beta, live


def _by_bands(
    plans: list[Plan],
    tolerance: float,
    mixing: Stackable,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the expansions hand out, which units are live, and the tau that is left."""
    wide = mixing.padded(x)
    total = torch.zeros_like(wide)
    live = torch.zeros_like(tau, dtype=torch.bool)
    rest = torch.zeros_like(tau)
    slopes = None if scale is None else scale.expand_as(tau)
    rank = max(plan.expansion.rank for plan in plans)
    limit = max(BAND * torch.get_num_threads(), rank * mixing.weight.numel()) // max(rank, 1)
    for band in mixing.bands(x, tau, limit):
        inputs, left = wide[band.inputs], tau[band.outputs]
        some = None if slopes is None else slopes[band.outputs]
        present = (inputs != 0).to(inputs.dtype)
        counting = band.mixing.power(0, inputs)
        count = counting.forward(present)
        here = live_by(count, some)
        left = left.where(here, 0)
        for plan in plans:
            part = left if plan.everywhere else left.where(plan.covers(some), 0)
            units = Units(part, present, counting, count)
            beta, missed = split_expanded(plan, band.mixing, inputs, units, tolerance)
            total[band.inputs] += beta
            left = missed if plan.everywhere else left - part + missed
        live[band.outputs], rest[band.outputs] = here, left
    if listening():
        _note(plans, mixing, x, tau.where(live, 0) - rest)
    return mixing.cropped(total, x.shape), live, rest


def _note(plans: list[Plan], mixing: Mixing, x: Tensor, tau: Tensor) -> None:
    reach = max(plan.reach for plan in plans)
    rank = max(plan.expansion.rank for plan in plans)
    bound = max(plan.expansion.bound for plan in plans)
    note(Choice("expansion", _covered(mixing, x, tau), reach, rank, bound))


def _covered(mixing: Mixing, x: Tensor, tau: Tensor) -> int:
    """How many contributions the units with bias have."""
    return contributions(live_units(mixing, x, None)[0], tau)
