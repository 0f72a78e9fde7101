"""Deletion and insertion of several maps of the same pictures at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_images, pixel_scores
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.perturbation import step_counts
from biasmatters.metrics.functional.ranking import Order
from biasmatters.metrics.functional.replacing import Visit, fills, remembered
from biasmatters.metrics.functional.substrate import Baseline


class DeletionInsertion(NamedTuple):
    """The curves of one set of maps.

    Attributes:
        deletion: Low is better.
        insertion: High is better.
    """

    deletion: Curve
    insertion: Curve


def deletion_insertion(
    model: Model,
    x: Tensor,
    maps: Mapping[str, Tensor],
    target: int | Tensor | None = None,
    *,
    steps: int = 32,
    deletion_baseline: Baseline = "zero",
    insertion_baseline: Baseline = "blur",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> dict[str, DeletionInsertion]:
    """Both curves of several methods' maps of the same pictures, sharing what can be shared.

    The curves are those of :func:`deletion` and :func:`insertion`. The intact picture and the two
    baselines are made and scored once for all methods, and each map is ranked once for both
    curves: M methods take 3 + 2 M (steps - 1) forward passes a picture instead of
    2 M (steps + 1).

    Args:
        model: As for :func:`deletion`.
        x: As for :func:`deletion`.
        maps: By name of the method; each as for :func:`deletion`.
        target: As for :func:`deletion`.
        steps: As for :func:`deletion`.
        deletion_baseline: What deletion ends with.
        insertion_baseline: What insertion starts from.
        order: As for :func:`deletion`.
        score: As for :func:`deletion`.
        chunk_size: As for :func:`deletion`.
        seed: As for :func:`deletion`.

    Returns:
        By name, the two curves of every picture.

    Raises:
        MetricInputError: As for :func:`deletion`, with the method's name where its maps are
            refused; or if there are no maps.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
        >>> x, maps = torch.rand(2, 1, 12, 12), {"a": torch.rand(2, 12, 12)}
        >>> found = deletion_insertion(model, x, maps | {"b": -maps["a"]}, steps=4)
        >>> list(found), found["a"].deletion.scores.shape
        (['a', 'b'], torch.Size([2, 5]))
        >>> torch.equal(found["a"].deletion.scores[:, 0], found["b"].insertion.scores[:, -1])
        True
    """
    check_images(x)
    counts = step_counts(x, steps)
    _check_maps(maps, x)
    trips = _Trips.of(counts, len(maps))
    visit = Visit(order, seed)
    empty, blurred = fills(x, deletion_baseline, seed), fills(x, insertion_baseline, seed)

    def prepare(rows: slice) -> tuple[Tensor, Tensor]:
        ranks = [visit.ranks(some[rows], x[rows]).int() for some in maps.values()]
        return torch.cat(ranks, 1), torch.stack([empty(rows), blurred(rows)], 1)

    prepared = remembered(prepare)

    def draw(rows: slice, some: Tensor) -> Tensor:
        ranks, blanks = prepared(rows)
        inserts = trips.inserts[some]
        later = ranks[:, trips.method[some]] >= trips.counts[some].view(-1, 1, 1, 1)
        shown = later ^ inserts.view(-1, 1, 1, 1)
        return torch.where(shown, x[rows].unsqueeze(1), blanks[:, inserts.long()])

    points = torch.arange(len(trips.counts), device=x.device)
    scores, chosen = follow(
        model, x, points, draw, target, intact=0, score=score, chunk_size=chunk_size
    )
    shares = counts.double() / x[0, 0].numel()
    return {
        name: DeletionInsertion(
            Curve.of(shares, scores[:, trips.deletion(i)], chosen),
            Curve.of(shares, scores[:, trips.insertion(i)], chosen),
        )
        for i, name in enumerate(maps)
    }


@dataclass(frozen=True)
class _Trips:
    """The pictures to be scored: x, the two baselines, then each method's steps in between.

    Attributes:
        method: ``(points,)`` whose ranks are used.
        inserts: ``(points,)`` whether visited pixels are put in, or taken away.
        counts: ``(points,)`` how many pixels have been visited.
        between: Steps of a curve without its ends.
    """

    method: Tensor
    inserts: Tensor
    counts: Tensor
    between: int

    @classmethod
    def of(cls, counts: Tensor, methods: int) -> _Trips:
        """Args: the counts ``(steps + 1,)`` of one curve, and how many methods there are."""
        inner, ends = counts[1:-1], counts[[0, -1, 0]]
        which = torch.arange(methods, device=counts.device).repeat_interleave(2 * len(inner))
        mode = torch.arange(2, device=counts.device).repeat_interleave(len(inner)).repeat(methods)
        return cls(
            torch.cat([which.new_zeros(3), which]),
            torch.cat([mode.new_tensor([0, 0, 1]), mode]).bool(),
            torch.cat([ends, inner.repeat(2 * methods)]).int(),
            len(inner),
        )

    def deletion(self, method: int) -> list[int]:
        """Where the points of a method's deletion are: from x to its baseline."""
        start = 3 + 2 * method * self.between
        return [0, *range(start, start + self.between), 1]

    def insertion(self, method: int) -> list[int]:
        """Where the points of a method's insertion are: from its baseline to x."""
        start = 3 + (2 * method + 1) * self.between
        return [2, *range(start, start + self.between), 0]


def _check_maps(maps: Mapping[str, Tensor], x: Tensor) -> None:
    """Refuse maps that cannot be ranked, by the name of their method."""
    if not maps:
        raise MetricInputError("there are no maps; give those of one method at least, by its name.")
    for name, some in maps.items():
        try:
            pixel_scores(some, x)
        except MetricInputError as error:
            raise MetricInputError(f"{name}: {error}") from error
