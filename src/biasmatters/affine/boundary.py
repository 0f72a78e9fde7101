"""A choice made from the input's values, beside the recorded operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Boundary:
    """A choice made from the input's values, such as a comparison.

    Attributes:
        gap: How far each unit is from the other choice, NaN where that is not measured.
        axis: Where the samples of ``gap`` lie.
    """

    gap: Callable[[], Tensor]
    axis: int


def unmeasured(like: Tensor, axis: int) -> Boundary:
    """A choice whose distance from the other one is not known."""
    nan = torch.full_like(like, torch.nan, requires_grad=False)
    return Boundary(lambda: nan, axis)


def of_comparison(args: tuple[Any, ...], inputs: tuple[Tensor, ...], axis: int) -> Boundary:
    """The distance of two sides, which shrinks on both where both move with the input."""
    share = 1.0 / sum(1 for a in args if any(a is x for x in inputs))
    a, b = (_now(side, inputs) for side in args)
    return Boundary(lambda: (a - b).abs() * share, axis)


def _now(side: Any, inputs: tuple[Tensor, ...]) -> Any:
    """One side as it is now: the model may change its thresholds later."""
    if not isinstance(side, Tensor):
        return side
    return side.detach() if any(side is x for x in inputs) else side.detach().clone()
