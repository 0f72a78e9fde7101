"""Deletion and insertion, after RISE."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import check_count, check_images
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score
from biasmatters.metrics.functional.ranking import Order
from biasmatters.metrics.functional.replacing import Visit, fills, replace_pixels
from biasmatters.metrics.functional.substrate import Baseline


def deletion(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    steps: int = 32,
    baseline: Baseline = "zero",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while the most salient pixels are taken away.

    Point i has its floor(i P / steps) most salient of P pixels, all channels together, replaced
    by the baseline; auc = sum_i (s_i + s_{i+1}) / 2 (t_{i+1} - t_i). A good map falls early: low
    is better. Where ``steps`` divides P this is RISE's protocol, which visits P / steps pixels a
    step and divides (sum - first/2 - last/2) by the number of steps.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        steps: Number of steps, at most P.
        baseline: ``zero`` (in that input space), ``mean``, ``blur``, ``noise`` or a tensor that
            broadcasts to x.
        order: ``signed``, ``absolute`` or ``negative``.
        score: Softmax ``probability`` or raw ``logit``.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the noise and of the tie-break, and so of the whole order of a constant map
            (which warns).

    Returns:
        The curve of every picture, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, more steps than pixels, or a blur that is
            larger than the picture.

    Source:
        Petsiuk, Das, Saenko: RISE, BMVC 2018; ``evaluation.py`` of the authors' code.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1]]))
        >>> x = torch.ones(1, 1, 2, 2)
        >>> good = deletion(model, x, torch.tensor([[[9.0, 2], [1, 0]]]), steps=4)
        >>> bad = deletion(model, x, torch.tensor([[[0.0, 1], [2, 9]]]), steps=4)
        >>> bool(good.auc < bad.auc)
        True
    """
    check_images(x)
    return replace_pixels(
        model,
        x,
        maps,
        target,
        step_counts(x, steps),
        Visit(order, seed),
        fills(x, baseline, seed),
        inserts=False,
        score=score,
        chunk_size=chunk_size,
    )


def insertion(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    steps: int = 32,
    baseline: Baseline = "blur",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while the most salient pixels are put back into a baseline.

    The mirror of :func:`deletion`: it starts from the baseline (an 11x11 Gaussian blur of sigma
    5, as RISE codes it) and ends with x. A good map rises early: high is better.

    Args:
        model: As for :func:`deletion`.
        x: As for :func:`deletion`.
        maps: As for :func:`deletion`.
        target: As for :func:`deletion`.
        steps: As for :func:`deletion`.
        baseline: As for :func:`deletion`; ``blur`` needs a picture of at least 11x11 pixels.
        order: As for :func:`deletion`.
        score: As for :func:`deletion`.
        chunk_size: As for :func:`deletion`.
        seed: As for :func:`deletion`.

    Returns:
        The curve of every picture, on x's device.

    Raises:
        MetricInputError: As for :func:`deletion`.

    Source:
        Petsiuk, Das, Saenko: RISE, BMVC 2018; ``evaluation.py`` of the authors' code.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1]]))
        >>> x = torch.ones(1, 1, 2, 2)
        >>> maps = torch.tensor([[[9.0, 2], [1, 0]]])
        >>> insertion(model, x, maps, steps=4, baseline="zero").scores[0].round(decimals=2)
        tensor([0.5000, 0.9500, 0.9500, 0.9500, 0.8800])
    """
    check_images(x)
    return replace_pixels(
        model,
        x,
        maps,
        target,
        step_counts(x, steps),
        Visit(order, seed),
        fills(x, baseline, seed),
        inserts=True,
        score=score,
        chunk_size=chunk_size,
    )


def step_counts(x: Tensor, steps: int) -> Tensor:
    """``(steps + 1,)`` how many pixels of ``x (N, C, H, W)`` are replaced: floor(i P / steps).

    Raises:
        MetricInputError: For more steps than pixels, or none.
    """
    pixels = x[0, 0].numel()
    check_count("steps", steps, 1, pixels)
    return torch.arange(steps + 1, device=x.device) * pixels // steps
