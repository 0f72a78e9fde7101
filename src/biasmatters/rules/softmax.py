"""The arithmetic that the three softmax rules share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
