"""ROAD: remove pixels and fill them so that the mask cannot be read off the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_images, pixel_scores
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, follow, logits, undisturbed
from biasmatters.metrics.functional.imputation import noisy_linear_imputation
from biasmatters.metrics.functional.ranking import Order, pixel_rank

First = Literal["most", "least"]
RoadScore = Literal["probability", "logit", "accuracy"]

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def road(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    first: First = "most",
    fractions: Sequence[float] = FRACTIONS,
    noise: float | Tensor = 0.01,
    order: Order = "signed",
    score: RoadScore = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while pixels are removed and filled from their neighbours.

    At fraction t the floor(t P) most (``first="most"``, MoRF) or least (LeRF) salient of P pixels
    are filled by :func:`~biasmatters.metrics.functional.imputation.noisy_linear_imputation`, from
    the intact picture each time. auc is the mean of the curve over the range of the fractions. A
    good map falls early where the most salient go first (low is better) and late where the least
    salient do (high is better). Scattered pixels are filled back nearly as they were: a map of
    noise does little harm in either order, and smooth maps are at an advantage with MoRF.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        first: Whether the ``most`` or the ``least`` salient pixels are removed first.
        fractions: Shares of the pixels removed, rising, from 0 to below 1; two or more.
        noise: Standard deviation of the noise in units of x, one or ``(C,)``. The authors fill
            [0, 1] pixels: on pictures normalised by s, 0.01 / s is theirs.
        order: ``signed``, ``absolute`` or ``negative``.
        score: Softmax ``probability``, raw ``logit``, or ``accuracy``: 1 where the target is the
            class predicted, else 0. The authors' figure is the mean accuracy at every fraction
            with the labels as target.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the noise, one field for all pictures, and of the tie-break, and so of the whole
            order of a constant map (which warns). The authors average five seeds.

    Returns:
        The curve of every picture, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, fractions, noise or a score that cannot be.

    Source:
        Rong, Leemann, Borisov, Kasneci, Kasneci: A Consistent and Efficient Evaluation Strategy
        for Attribution Methods, ICML 2022; the authors' code (read), which counts the pixels kept
        where the least salient go first: its p is 1 - t there.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2, bias=False))
        >>> _ = model[1].weight.data.zero_()[0, 4].fill_(5)
        >>> x = torch.zeros(1, 1, 3, 3)
        >>> x[..., 1, 1] = 1
        >>> most, least = (road(model, x, x, first=f, noise=0) for f in ("most", "least"))
        >>> most.scores[0, [0, -1]].round(decimals=2), bool(least.auc > most.auc)
        (tensor([0.9900, 0.5000]), True)
    """
    check_images(x)
    if first not in get_args(First):
        raise MetricInputError(f"first={first!r} is unknown; choose most or least.")
    if score not in get_args(RoadScore):
        raise MetricInputError(f"score={score!r} is unknown; choose one of {get_args(RoadScore)}.")
    n, (height, width) = len(x), x.shape[-2:]
    rank = pixel_rank(pixel_scores(maps, x), order, seed).view(n, 1, height, width)
    rank = rank if first == "most" else height * width - 1 - rank
    share, counts = _counts(fractions, height * width)

    def draw(rows: slice, some: Tensor) -> Tensor:
        removed = (rank[rows] < some.view(-1, 1, 1)).flatten(0, 1)
        intact = x[rows].repeat_interleave(len(some), 0)
        filled = noisy_linear_imputation(intact, removed, noise=noise, seed=seed)
        return filled.view(-1, len(some), *x.shape[1:])

    with undisturbed(model):
        scores, chosen = follow(
            _hits(model) if score == "accuracy" else model,
            x,
            counts.to(x.device),
            draw,
            target,
            score="logit" if score == "accuracy" else score,
            chunk_size=chunk_size,
        )
    return Curve.of(share, scores, chosen)


def _counts(fractions: Sequence[float], pixels: int) -> tuple[Tensor, Tensor]:
    """``(points,)`` fractions, and the numbers of pixels that they are."""
    share = torch.tensor([float(fraction) for fraction in fractions], dtype=torch.float64)
    if len(share) < 2 or not bool((share.diff() > 0).all()):
        raise MetricInputError(f"fractions={fractions} must rise, and be two or more.")
    if not bool(share[0] >= 0 and share[-1] < 1):
        raise MetricInputError(
            f"fractions={fractions} must be from 0 to below 1: with every pixel removed there is "
            "nothing to fill them from."
        )
    # 0.29 * 100 is a little under 29.
    return share, (share * pixels + 1e-6).floor().long()


def _hits(model: Model) -> Model:
    """1 for the class predicted and 0 for the others, as if they were logits."""

    def predicted(x: Tensor) -> Tensor:
        out = logits(model, x)
        hits = torch.zeros_like(out).scatter_(1, out.argmax(1, keepdim=True), 1)
        return hits.where(out.isfinite().all(1, keepdim=True), torch.nan)

    return predicted
