"""What the softmax rules share: the temperature, and the choice of the fastest sufficient form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biasmatters.affine.mixing import Mixing, Stackable
from biasmatters.rules import exponentials
from biasmatters.rules.expanded import Scaled, choose, reach_of, split_expanded
from biasmatters.rules.expansion import Expansion
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.levels import levels
from biasmatters.rules.rule import RuleError

# Nanoseconds on two cores in float32: a connection in the direct form, a multiplication in a
# convolution, and one Chebyshev term of one input or weight.
DIRECT, MULTIPLY, TERM = 1.3, 0.025, 0.6


def masked_softmax(score: Tensor, present: Tensor, dim: int) -> Tensor:
    """Softmax over the entries that are present; rows without any give zeros."""
    weights = torch.softmax(score.masked_fill(~present, -torch.inf), dim)
    return weights.masked_fill(~present, 0)


def checked_temperature(temperature: float) -> float:
    """The temperature, if it is a positive number.

    Raises:
        RuleError: If it is zero, negative or not a number.
    """
    if not (isinstance(temperature, (int, float)) and 0 < temperature < math.inf):
        raise RuleError(
            f"temperature={temperature!r}: give a positive number; small ones tend to a hard "
            "minimum or maximum, large ones to the rule 'uniform'."
        )
    return float(temperature)


def checked_tolerance(tolerance: float | None) -> float | None:
    """The tolerance, if it is None, 0 or a number from 1e-13 to 0.1.

    Raises:
        RuleError: If it is none of these.
    """
    if tolerance is None or tolerance == 0:
        return tolerance
    if isinstance(tolerance, (int, float)) and 1e-13 <= tolerance <= 0.1:
        return float(tolerance)
    raise RuleError(
        f"tolerance={tolerance!r}: give a number from 1e-13 to 0.1, 0 to write every connection "
        "out, or None for what the number format allows."
    )


def tolerance_for(tolerance: float | None, dtype: torch.dtype) -> float:
    """The tolerance in a number format, which cannot hold less than a few units of round-off."""
    eps = torch.finfo(dtype).eps
    if tolerance is None:
        return 1e-11 if eps < 1e-10 else max(1e-6, 4 * eps)
    return tolerance and max(tolerance, 4 * eps)


def live_units(mixing: Mixing, x: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """How many contributions each unit has, and a mask of the units that have any."""
    count = mixing.power(0, x).forward((x != 0).to(x.dtype))
    live = count > 0.5
    return count, live if scale is None else live & (scale != 0)


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

    Layers with shared coefficients go by an expansion where that is cheaper, the others, and units
    for which an expansion is too coarse, connection by connection.
    """
    count, live = live_units(mixing, x, scale)
    rest = tau.where(live, 0)
    beta = torch.zeros_like(x)
    bound = tolerance_for(tolerance, x.dtype)
    if bound and isinstance(mixing, Stackable) and x.ndim > 1 and x.numel():
        for units, mask in levels(scale, tau, mixing.unit_axis):
            part = rest if mask is None else rest.where(mask, 0)
            found = _expand(sign, units / temperature, bound, mixing, x, part, count)
            if found is not None:
                beta, rest = beta + found[0], rest - part + found[1]
    if bool(rest.any()):
        if listening():
            note(Choice("direct", _covered(rest, count)))
        beta = beta + exponentials.split_by_size(sign, temperature, mixing, x, rest, scale)
    return beta, live


def _expand(
    sign: int,
    units: Tensor,
    tolerance: float,
    mixing: Stackable,
    x: Tensor,
    tau: Tensor,
    count: Tensor,
) -> tuple[Tensor, Tensor] | None:
    """One level of slopes by an expansion, or None where the direct form is better."""
    sizes, channels, reach = reach_of(mixing, x, units)
    expansion = choose(sign, reach, tolerance, x.dtype)
    if expansion is None or not _pays(expansion, mixing, x, tau):
        return None
    shape = [1] * x.ndim
    shape[mixing.channel_axis] = -1
    inputs = x.abs() / channels.where(channels > 0, 1).reshape(shape)
    scaled = Scaled(sizes / expansion.reach, inputs, expansion)
    beta, left = split_expanded(scaled, mixing, x, tau, count, tolerance)
    if listening():
        covered = _covered(tau - left, count)
        note(Choice("expansion", covered, reach, expansion.rank, expansion.bound))
    return beta, left


def _covered(tau: Tensor, count: Tensor) -> int:
    """How many contributions the units with bias have."""
    return int(count.masked_fill(tau == 0, 0).sum(dtype=torch.float64))


def _pays(expansion: Expansion, mixing: Stackable, x: Tensor, tau: Tensor) -> bool:
    """Whether the expansion is the cheaper form for a layer."""
    connections = mixing.multiplications(x, tau)
    terms = expansion.inputs.shape[1] * TERM
    prepared = (x.numel() + mixing.weight.numel()) * (terms + 2 * expansion.rank * TERM)
    return connections * 2 * expansion.rank * MULTIPLY + prepared < connections * DIRECT
