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

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.mixing import Stackable
from biasmatters.rules.expansion import Expansion, expand, round_up, series

CHUNK = 1 << 16
# Of the tolerance, what one kernel value may be off: then units with D / n > 0.02 need no more.
FINENESS = 1e-2
# The coefficients of an expansion hold no less, times R.
ROUND_OFF = 5e-14
# Beyond it the smallest exp(-z) is not taken for granted, and D is looked at.
MODEST = 3.0


@dataclass(frozen=True)
class Scaled:
    """A map and its input brought to the unit square.

    Attributes:
        weights: ``|weight|`` scaled to [0, 1].
        inputs: ``|x|`` scaled to [0, 1].
        expansion: Of the rule's exponential at this layer's R.
    """

    weights: Tensor
    inputs: Tensor
    expansion: Expansion


def reach_of(mixing: Stackable, x: Tensor, units: Tensor) -> tuple[Tensor, Tensor, float]:
    """Scaled ``|weight|``, the inputs' channel maxima, and R = the largest ``|e| / T``.

    Args:
        mixing: The map.
        x: Its input.
        units: ``(P,)`` what scales each unit: its folded slope over T.
    """
    axis = mixing.channel_axis % x.ndim
    others = [a for a in range(x.ndim) if a != axis]
    channels = x.abs().amax(others)
    sizes = mixing.sizes(units, channels)
    return sizes, channels, float(sizes.amax()) if sizes.numel() else 0.0


def choose(sign: int, reach: float, tolerance: float, dtype: torch.dtype) -> Expansion | None:
    """The expansion for a layer, or None where round-off forbids one.

    For exp(+z) all that is below R loses ``e^R``, so large R is left to the direct form; likewise
    R so large that round-off in the scaled inputs shows.
    """
    eps = torch.finfo(dtype).eps
    if not 0 < reach < torch.inf:
        return None
    if sign > 0 and reach > MODEST * (1 if eps > 1e-10 else 3):
        return None
    if reach > (64 if eps > 1e-10 else 256):
        return None
    step = round_up(reach)
    share = max(math.exp(-step) / 2, FINENESS / 2) if sign < 0 else math.exp(-step) / 2
    return expand(sign, step, max(tolerance * share, ROUND_OFF * max(1.0, step)))


def split_expanded(
    scaled: Scaled, mixing: Stackable, x: Tensor, tau: Tensor, count: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Split tau, and say what was left.

    Args:
        scaled: The layer on the unit square.
        mixing: The map.
        x: Its input.
        tau: Like its output, 0 for units without any contribution.
        count: Number of contributions of each unit.
        tolerance: Of the sum of the errors of a unit's shares.

    Returns:
        The inputs' bias, and the tau of units that the bound does not cover.
    """
    expansion, present = scaled.expansion, x != 0
    flat = scaled.weights.reshape(-1)
    tables = (series(flat, expansion.weights) * (flat != 0)).reshape(-1, *scaled.weights.shape)
    features = _features(scaled.inputs, expansion.inputs)
    features *= present.unsqueeze(1)
    free = _features(scaled.inputs, expansion.free[None]).squeeze(1) * present
    stacked, counting = mixing.stack(tables, x), mixing.power(0, x)
    whole = stacked.forward(features) + counting.forward(free)
    safe = whole * tolerance >= 2 * expansion.bound * count
    share = (tau / whole).where(safe & (tau != 0), 0)
    beta = free * counting.transpose(share)
    beta += (features.mul_(stacked.transpose(share))).sum(1)
    return beta, tau.masked_fill(safe, 0)


def _features(values: Tensor, coefficients: Tensor) -> Tensor:
    """``(B, r, *rest)`` from ``(B, *rest)``, in pieces that stay in the cache."""
    rank, batch = len(coefficients), len(values)
    flat = values.reshape(batch, -1)
    out = values.new_empty(batch, rank, flat.shape[1])
    if flat.shape[1] * 16 < CHUNK:
        out.copy_(series(flat.reshape(-1), coefficients).reshape(rank, batch, -1).transpose(0, 1))
    else:
        for row in range(batch):
            for start in range(0, flat.shape[1], CHUNK):
                part = slice(start, start + CHUNK)
                out[row, :, part] = series(flat[row, part], coefficients)
    return out.reshape(batch, rank, *values.shape[1:])
