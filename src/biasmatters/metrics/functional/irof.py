"""IROF: take superpixels away, the most relevant first."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import (
    MetricInputError,
    check_count,
    check_images,
    pixel_scores,
)
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.ranking import Order, pixel_rank
from biasmatters.metrics.functional.substrate import Baseline, substrate
from biasmatters.metrics.functional.superpixels import consecutive, superpixels


def irof(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    segments: int | Tensor = 50,
    steps: int = 50,
    baseline: Baseline = "mean",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score, relative to the intact one, while superpixels are taken away.

    The S superpixels of a picture go by falling mean of the map over their pixels, and l of them
    replaced by the baseline leave the score f_l / f_0. IROF is the area over that curve, see
    :func:`area_over`: high is better, and so a low auc is. S differs between pictures, so every
    curve is read off, between l and l + 1 linearly, at the same shares 0, 1 / steps, ..., 1 of the
    picture's own superpixels; where steps is a multiple of S its area is the one over all S.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        segments: About how many superpixels SLIC is to find, or ``(N, H, W)`` integers that number
            each pixel's own.
        steps: Points of the curve, less one. It costs no passes: they are S + 1 a picture.
        baseline: ``zero`` (in that input space), ``mean`` of each picture's channels, ``blur`` or
            a tensor.
        order: ``signed``, ``absolute`` or ``negative``, of the means.
        score: Softmax ``probability`` or raw ``logit``; it must be above 0 on the intact picture.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the tie-break, and so of the whole order of a constant map (which warns).

    Returns:
        The curve of every picture, on x's device: fractions are shares of its superpixels, scores
        are relative and start at 1.

    Raises:
        MetricInputError: For shapes that disagree, NaN, numbers that cannot be, or an intact score
            that is not above 0.

    Source:
        Rieger, Hansen: IROF: a low resource evaluation metric for explanation methods, 2020
        (protocol recalled; the paper's own fill may be the mean of the data set).

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1]]))
        >>> x, pieces = torch.ones(1, 1, 2, 2), torch.tensor([[[0, 0], [1, 1]]])
        >>> maps = torch.tensor([[[9.0, 2], [1, 0]]])
        >>> curve = irof(model, x, maps, segments=pieces, steps=2, baseline="zero")
        >>> curve.scores.round(decimals=2), area_over(curve).round(decimals=2)
        (tensor([[1.0000, 0.3100, 0.5700]]), tensor([0.4600]))
    """
    check_images(x)
    check_count("steps", steps, 1)
    pieces = superpixels(x, segments) if isinstance(segments, int) else _given(segments, x)
    turn = _turns(pieces, pixel_scores(maps, x), order, seed)[:, None, None]
    counts = turn.flatten(1).amax(1) + 1
    blank = substrate(x, baseline)

    def draw(rows: slice, some: Tensor) -> Tensor:
        keep = turn[rows] >= some.view(-1, 1, 1, 1)
        return torch.where(keep, x[rows].unsqueeze(1), blank[rows].unsqueeze(1))

    points = torch.arange(int(counts.max()) + 1, device=x.device)
    scores, chosen = follow(
        model, x, points, draw, target, intact=0, score=score, chunk_size=chunk_size
    )
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=scores.device)
    return Curve.of(share, _resampled(_relative(scores), counts.to(scores.device), share), chosen)


def area_over(curve: Curve) -> Tensor:
    """IROF, 1 - auc.

    Args:
        curve: Of :func:`irof`.

    Returns:
        ``(N,)``, at most 1, high is better; negative where the score rises as pieces go.
    """
    return 1 - curve.auc


def _given(segments: Tensor, x: Tensor) -> Tensor:
    """The caller's superpixels, numbered from 0."""
    shape = (len(x), *x.shape[2:])
    kind = segments.dtype
    if segments.shape != shape or kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise MetricInputError(
            f"segments are {kind} {tuple(segments.shape)}; give a number, or integers {shape}."
        )
    return consecutive(segments.to(x.device))


def _turns(pieces: Tensor, scores: Tensor, order: Order, seed: int) -> Tensor:
    """``(N, H, W)``, when each pixel's piece is taken: 0 is first."""
    of = pieces.flatten(1)
    sums = scores.new_zeros(len(of), int(of.max()) + 1, dtype=torch.float64)
    sizes = torch.zeros_like(sums).scatter_add_(1, of, torch.ones_like(of, dtype=sums.dtype))
    means = sums.scatter_add_(1, of, scores.to(sums)) / sizes
    # Pieces go by the rank of their first pixel, so ties are broken alike in every batch.
    rank = pixel_rank(means.gather(1, of), order, seed)
    leaders = torch.full_like(sums, of.shape[1], dtype=torch.int64)
    leaders.scatter_reduce_(1, of, rank, "amin")
    return consecutive(leaders.gather(1, of).view(pieces.shape))


def _relative(scores: Tensor) -> Tensor:
    """``(N, points)`` shares of the first."""
    lost = int((scores[:, 0] <= 0).sum())
    if lost:
        raise MetricInputError(
            f"{lost} of {len(scores)} pictures have no score above 0 while they are intact, so "
            'nothing is relative to it; use score="probability", and the class predicted as target.'
        )
    return scores / scores[:, :1]


def _resampled(scores: Tensor, counts: Tensor, share: Tensor) -> Tensor:
    """Scores after 0..counts pieces, read off at shares of the counts, ``(N, len(share))``."""
    place = counts[:, None] * share
    below = torch.minimum(place.floor().long(), counts[:, None] - 1)
    part = (place - below).to(scores)
    return torch.lerp(scores.gather(1, below), scores.gather(1, below + 1), part)
