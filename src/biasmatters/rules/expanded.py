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
    counting, least = units.counting, 2 * plan.expansion.bound / tolerance
    features, free = _features(plan, plan.scaled(x), units.present)
    stacked = [mixing.stack(*pair) for pair in zip(plan.tables, features, strict=True)]
    whole = stacked[0].forward(features[0]).add_(counting.forward(free))
    for run, some in zip(stacked[1:], features[1:], strict=True):
        whole += run.forward(some)
    coarse = below(whole, units.count * least)
    share, all_fine = units.tau / whole.clamp_min_(least), not any_left(coarse)
    if not all_fine:
        share = left_out(share, coarse)
    beta = free.mul_(counting.transpose(share))
    for run, some in zip(stacked, features, strict=True):
        _add_products(beta, some, run.transpose(share))
    return beta, None if all_fine else kept(units.tau, coarse)


def _add_products(total: Tensor, features: Tensor, others: Tensor) -> None:
    """Add ``sum_k features[:, k] others[:, k]`` in place."""
    for one, other in zip(features.unbind(1), others.unbind(1), strict=True):
        total.addcmul_(one, other)


def _features(plan: Plan, values: Tensor, present: Tensor) -> tuple[list[Tensor], Tensor]:
    """The psi ``(B, r, *rest)``, some at a time, and g ``(B, *rest)`` of ``(B, *rest)``.

    They are 0 where not present.
    """
    expansion, batch = plan.expansion, len(values)
    terms = Terms(max(expansion.inputs.shape[1], len(expansion.free)), values)
    inputs = terms.prepared(expansion.inputs, values)
    alone = terms.prepared(expansion.free[None], values)
    flat, shown = values.reshape(batch, -1), present.reshape(batch, -1)
    features = [values.new_empty(batch, ks.stop - ks.start, flat.shape[1]) for ks in plan.pieces]
    free = torch.empty_like(flat)
    for rows in ranges(batch, max(1, CHUNK // max(flat.shape[1], 1))):
        some = rows.stop - rows.start
        for part in ranges(flat.shape[1], CHUNK):
            found = terms.at(flat[rows, part].reshape(-1), shown[rows, part].reshape(-1))
            found = found.view(terms.degree, some, -1).transpose(0, 1)
            for ks, out in zip(plan.pieces, features, strict=True):
                torch.bmm(inputs[ks].expand(some, -1, -1), found, out=out[rows, :, part])
            torch.bmm(alone.expand(some, -1, -1), found, out=free[rows, part].unsqueeze(1))
    shape = values.shape[1:]
    return [f.reshape(batch, -1, *shape) for f in features], free.reshape(values.shape)
