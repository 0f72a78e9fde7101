"""What the softmax rules share: temperature, tolerance, and which units have inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biasmatters.affine.masks import above, present
from biasmatters.affine.mixing import Mixing
from biasmatters.rules.rule import RuleError


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
    count = mixing.power(0, x).forward(present(x))
    return count, live_by(count, scale)


def live_by(count: Tensor, scale: Tensor | None) -> Tensor:
    """1 where a unit has any contribution, by its number of connections and its slope."""
    live = above(count, 0.5)
    return live if scale is None else live.mul_(present(scale))


def contributions(count: Tensor, tau: Tensor) -> int:
    """How many contributions the units with bias have."""
    return int(count.masked_fill(tau == 0, 0).cpu().sum(dtype=torch.float64))
