"""Replace pixels in the order of a map, and follow the score of one class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import channelled, pixel_scores
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.ranking import Order, pixel_rank
from biasmatters.metrics.functional.substrate import Baseline, substrate

Value = TypeVar("Value")
# Makes the substrates of a slice of the pictures, (rows) -> (n, C, H, W).
Fill = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Visit:
    """In which order the pixels of a picture are visited.

    Attributes:
        order: ``signed``, ``absolute`` or ``negative``.
        seed: Of the tie-break.
        least_first: Whether to go from the other end of that order.
        together: Whether a pixel's channels are visited together; if not, each value on its own.
    """

    order: Order = "signed"
    seed: int = 0
    least_first: bool = False
    together: bool = True

    def features(self, x: Tensor) -> int:
        """How many places there are to visit in a picture of ``x (N, C, H, W)``."""
        return x[0, 0].numel() if self.together else x[0].numel()

    def ranks(self, maps: Tensor, x: Tensor) -> Tensor:
        """When each place is visited, from 0.

        Args:
            maps: ``(n, H, W)``, ``(n, 1, H, W)`` or shaped like x; looked over before.
            x: ``(n, C, H, W)`` the pictures that the maps explain.

        Returns:
            ``(n, 1, c, H, W)`` integers, c = 1 where channels go together and C where not.
        """
        scores = self.scores(maps, x)
        rank = pixel_rank(scores, self.order, self.seed)
        if self.least_first:
            rank = scores.shape[1] - 1 - rank
        channels = 1 if self.together else x.shape[1]
        return rank.view(len(x), 1, channels, *x.shape[2:])

    def scores(self, maps: Tensor, x: Tensor) -> Tensor:
        """``(n, features)``, what the places are ranked by, still signed."""
        values = channelled(maps, x)
        return (values.sum(1) if self.together else values.expand_as(x)).flatten(1)


def replace_pixels(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None,
    counts: Tensor,
    visit: Visit,
    fill: Fill,
    *,
    inserts: bool,
    score: Score,
    chunk_size: int | None,
) -> Curve:
    """Go from x to its substrate, or back, in the order of the maps.

    Ranks and substrates are made for one chunk of pictures at a time, so that memory does not
    grow with their number.

    Args:
        model: As for `follow`.
        x: ``(N, C, H, W)``, looked over before.
        maps: ``(N, H, W)`` or ``(N, c, H, W)``.
        target: As for `follow`.
        counts: ``(points,)`` how many places have been visited, rising.
        visit: In which order.
        fill: What x is replaced by.
        inserts: Whether to go from the substrate to x.
        score: As for `follow`.
        chunk_size: As for `follow`.

    Returns:
        The curve of every picture over the share of places visited.

    Raises:
        MetricInputError: For maps that do not fit x or are not finite, and as `follow` does.
    """
    pixel_scores(maps, x)
    features = visit.features(x)

    def prepare(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        rank = visit.ranks(maps[rows], x[rows])
        whole, blank = x[rows].unsqueeze(1), fill(rows).unsqueeze(1)
        return (rank, blank, whole) if inserts else (rank, whole, blank)

    prepared = remembered(prepare)

    def draw(rows: slice, some: Tensor) -> Tensor:
        rank, start, finish = prepared(rows)
        return torch.where(rank >= some.view(-1, 1, 1, 1), start, finish)

    intact = (counts == (features if inserts else 0)).nonzero().flatten().tolist()
    scores, chosen = follow(
        model,
        x,
        counts,
        draw,
        target,
        intact=intact[0] if intact else None,
        score=score,
        chunk_size=chunk_size,
    )
    return Curve.of(counts.double() / features, scores, chosen)


def fills(x: Tensor, baseline: Baseline, seed: int) -> Fill:
    """The substrates of any slice of x, made when they are asked for.

    Raises:
        MetricInputError: At once, if the baseline cannot be.
    """
    if isinstance(baseline, Tensor):
        whole = substrate(x, baseline)
        return lambda rows: whole[rows]
    substrate(x[:1], baseline, seed)
    return lambda rows: substrate(x[rows], baseline, seed)


def remembered(prepare: Callable[[slice], Value]) -> Callable[[slice], Value]:
    """Do not prepare the same slice of pictures twice in a row."""
    last = lru_cache(maxsize=1)(lambda start, stop: prepare(slice(start, stop)))
    return lambda rows: last(rows.start, rows.stop)
