"""The order in which a map visits the pixels."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError

Order = Literal["signed", "absolute", "negative"]


def pixel_rank(scores: Tensor, order: Order = "signed", seed: int = 0) -> Tensor:
    """Rank pixels from the most salient (0) to the least salient (P - 1).

    Ties are broken by one permutation of the pixels, drawn from ``seed`` alone: the rank of a
    picture does not depend on the batch it sits in, and the global generator stays as it was.

    Args:
        scores: ``(N, P)``, finite.
        order: ``signed`` ranks by s, ``absolute`` by abs(s), ``negative`` by -s.
        seed: Seed of the tie-break.

    Returns:
        ``(N, P)`` int64, each row a permutation of 0..P-1.

    Raises:
        MetricInputError: If the order has no such name.
    """
    if order not in get_args(Order):
        raise MetricInputError(f"order={order!r} is unknown; choose one of {get_args(Order)}.")
    key = scores.abs() if order == "absolute" else -scores if order == "negative" else scores
    generator = torch.Generator().manual_seed(seed)
    shuffle = torch.randperm(key.shape[1], generator=generator).to(key.device)
    visits = shuffle[key[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(key.shape[1], device=key.device).expand_as(visits)
    return torch.empty_like(visits).scatter_(1, visits, places)
