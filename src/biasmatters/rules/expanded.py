"""The rules ``exp(-|e| / T)`` and ``exp(+|e| / T)`` by convolutions of a few features.

With ``|e| / T = R w x`` on the unit square and the expansion of `biasmatters.rules.expansion`,

    D[p]    = sum_q 1[e != 0] (g(x_q) + sum_k phi_k(w_pq) psi_k(x_q))
    beta[q] = g(x_q) C^T u + sum_k psi_k(x_q) Phi_k^T u,        u = tau / D

where C counts connections. The same approximation stands above and below the line, so bias is
conserved to round-off. Where no kernel value is off by more than delta, the shares of a unit with n
inputs are off by ``2 delta n / D[p]`` in sum. Units for which that exceeds the tolerance are
returned, for the direct form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.masks import any_left, below, kept, left_out
from biasmatters.affine.mixing import Linear, Stackable, ranges
from biasmatters.rules.expansion import Expansion
from biasmatters.rules.plan import Plan
from biasmatters.rules.series import CHUNK, Terms


@dataclass(frozen=True)
class Units:
    """What the units of a band have to hand out, and to how many.

    Attributes:
        tau: Like the output, 0 for units without any contribution.
        present: Like the input, 1 where it is not 0.
        counting: The map with coefficients ``1[m != 0]``.
        count: Number of contributions of each unit.
    """

    tau: Tensor
    present: Tensor
    counting: Linear
    count: Tensor


def split_expanded(
    plan: Plan, mixing: Stackable, x: Tensor, units: Units, tolerance: float
) -> tuple[Tensor, Tensor | None]:
    """Split tau, and say what was left.

    Args:
        plan: The layer's expansion with its tables.
        mixing: The map, or a band of it.
        x: Its input.
        units: Their tau and their inputs.
        tolerance: Of the sum of the errors of a unit's shares.

    Returns:
        The inputs' bias, and the tau of units that the bound does not cover, None if it covers all.
    """
    inputs, counting = plan.scaled(x), units.counting
    features, free = _features(inputs, units.present, plan.expansion)
    stacked = mixing.stack(plan.tables, x)
    whole = stacked.forward(features).add_(counting.forward(free))
    least = 2 * plan.expansion.bound / tolerance
    coarse = below(whole, units.count * least)
    share, all_fine = units.tau / whole.clamp_min_(least), not any_left(coarse)
    if not all_fine:
        share = left_out(share, coarse)
    beta = free.mul_(counting.transpose(share))
    beta += features.mul_(stacked.transpose(share)).sum(1)
    return beta, None if all_fine else kept(units.tau, coarse)


def _features(values: Tensor, present: Tensor, expansion: Expansion) -> tuple[Tensor, Tensor]:
    """The psi ``(B, r, *rest)`` and g ``(B, *rest)`` of ``(B, *rest)``, 0 where not present."""
    batch, rank = len(values), expansion.rank
    terms = Terms(max(expansion.inputs.shape[1], len(expansion.free)), values)
    inputs = terms.prepared(expansion.inputs, values)
    alone = terms.prepared(expansion.free[None], values)
    flat, shown = values.reshape(batch, -1), present.reshape(batch, -1)
    features, free = values.new_empty(batch, rank, flat.shape[1]), torch.empty_like(flat)
    for rows in ranges(batch, max(1, CHUNK // max(flat.shape[1], 1))):
        some = rows.stop - rows.start
        for part in ranges(flat.shape[1], CHUNK):
            found = terms.at(flat[rows, part].reshape(-1), shown[rows, part].reshape(-1))
            found = found.view(terms.degree, some, -1).transpose(0, 1)
            torch.bmm(inputs.expand(some, -1, -1), found, out=features[rows, :, part])
            torch.bmm(alone.expand(some, -1, -1), found, out=free[rows, part].unsqueeze(1))
    return features.reshape(batch, rank, *values.shape[1:]), free.reshape(values.shape)
