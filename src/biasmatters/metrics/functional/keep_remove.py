"""Keep or remove the salient pixels, after Hesse et al."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_images, pixel_scores
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.ranking import Order
from biasmatters.metrics.functional.replacing import Fill, Visit, fills, remembered
from biasmatters.metrics.functional.substrate import Baseline, wide_blur

Mode = Literal["keep", "remove"]
FRACTIONS = tuple(np.geomspace(0.01, 1, 16).tolist())
BLUR_SIZE = 51
BLUR_SIGMA = 41.0


def keep_remove(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    mode: Mode = "keep",
    fractions: Sequence[float] | None = None,
    baseline: Baseline | None = None,
    blur_size: int = BLUR_SIZE,
    blur_sigma: float = BLUR_SIGMA,
    positive_only: bool = False,
    order: Order = "signed",
    score: Score = "logit",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while only a share of the pixels is shown.

    At the fraction f, k = floor(f P) of P pixels are shown and all others are filled in: with
    ``keep`` the k most salient, high is better; with ``remove`` the k least salient, so that the
    P - k most salient are gone, low is better.

    With ``positive_only``, as the authors have it, only the Q pixels with a positive score count
    (a negative one for the order ``negative``, one that is not zero for ``absolute``): k =
    min(floor(f P), Q) of those are shown and the others never. A map without any is then flat at
    the score of the fill, and one that gives the object negative scores has removed it before it
    starts, which is why it is not the default. The authors call the six settings KPM, KNM, KAM,
    RPM, RNM and RAM (keep or remove, positive, negative or absolute); they give the accuracy
    instead of the logit for the absolute order, and do not divide the area by the width .99.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        mode: ``keep`` or ``remove``.
        fractions: Shares f of the pixels shown, rising within [0, 1], two or more; None is 16 from
            0.01 to 1, evenly spaced by their logarithm.
        baseline: The fill: ``zero``, ``mean``, ``blur`` (RISE's, 11x11), ``noise`` or a tensor
            that broadcasts to x; None is the authors' wide blur.
        blur_size: Odd width of the wide blur in pixels. It reflects the picture at its border, so
            51 needs 26x26 pixels or more.
        blur_sigma: Of the wide blur, in pixels, as the authors' code defines it.
        positive_only: Whether pixels without a positive score are never shown.
        order: ``signed``, ``absolute`` or ``negative``.
        score: Raw ``logit`` or softmax ``probability``.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the noise and of the tie-break, and so of the whole order of a constant map
            (which warns).

    Returns:
        The curve of every picture over the fractions shown, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, fractions that do not rise, or a picture
            too small for the blur.

    Source:
        Hesse, Schaub-Meyer, Roth: Fast Axiomatic Attribution for Neural Networks, NeurIPS 2021;
        ``attribution_metrics.py`` of the authors' code.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[4.0, 2, 1, 1], [0, 0, 0, 0]]))
        >>> x, maps = torch.ones(1, 1, 2, 2), torch.tensor([[[3.0, 2], [1, -1]]])
        >>> half = {"fractions": [0.25, 0.5, 1], "baseline": "zero"}
        >>> keep_remove(model, x, maps, 0, mode="keep", **half).scores
        tensor([[4., 6., 8.]])
        >>> keep_remove(model, x, maps, 0, mode="remove", **half).scores
        tensor([[1., 2., 8.]])
        >>> keep_remove(model, x, maps, 0, mode="remove", positive_only=True, **half).scores
        tensor([[1., 3., 7.]])
    """
    check_images(x)
    if mode not in get_args(Mode):
        raise MetricInputError(f"mode={mode!r} is unknown; choose one of {get_args(Mode)}.")
    shares = _shares(FRACTIONS if fractions is None else fractions)
    fill = _wide(x, blur_size, blur_sigma) if baseline is None else fills(x, baseline, seed)
    pixel_scores(maps, x)
    visit = Visit(order, seed)

    def prepare(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        rank, scores = visit.ranks(maps[rows], x[rows]), visit.scores(maps[rows], x[rows])
        counted = _positive(scores, order) if positive_only else torch.ones_like(scores).bool()
        return rank, counted.sum(1).view(-1, 1, 1, 1, 1), fill(rows).unsqueeze(1)

    prepared = remembered(prepare)

    def draw(rows: slice, some: Tensor) -> Tensor:
        rank, counted, filled = prepared(rows)
        shown = torch.minimum(some.view(-1, 1, 1, 1), counted)
        first = 0 if mode == "keep" else counted - shown
        chosen = (rank >= first) & (rank < first + shown)
        return torch.where(chosen, x[rows].unsqueeze(1), filled)

    # 0.29 of 100 pixels are 29, whatever 0.29 is in binary.
    counts = (shares * x[0, 0].numel() + 1e-6).long().to(x.device)
    whole = shares[-1] == 1 and not positive_only
    found, classes = follow(
        model,
        x,
        counts,
        draw,
        target,
        intact=len(shares) - 1 if whole else None,
        score=score,
        chunk_size=chunk_size,
    )
    return Curve.of(shares, found, classes)


def _wide(x: Tensor, size: int, sigma: float) -> Fill:
    """The authors' blur of any slice of x; refused at once if it cannot be."""
    wide_blur(x[:1], size, sigma)
    return lambda rows: wide_blur(x[rows], size, sigma)


def _positive(scores: Tensor, order: Order) -> Tensor:
    """Which scores count where only positive ones do."""
    return {"signed": scores > 0, "negative": scores < 0, "absolute": scores != 0}[order]


def _shares(fractions: Sequence[float]) -> Tensor:
    """The fractions as ``(points,)`` float64, refused if they do not rise within [0, 1]."""
    shares = torch.as_tensor(fractions, dtype=torch.float64)
    rising = shares.ndim == 1 and len(shares) > 1 and bool((shares.diff() > 0).all())
    if not rising or not 0 <= float(shares[0]) <= float(shares[-1]) <= 1:
        raise MetricInputError(
            f"fractions={list(fractions)} cannot be; give two or more that rise within [0, 1]."
        )
    return shares
