"""Pixel flipping: the most or the least salient features first."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count, check_images
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score
from biasmatters.metrics.functional.ranking import Order
from biasmatters.metrics.functional.replacing import Visit, fills, replace_pixels
from biasmatters.metrics.functional.substrate import Baseline

First = Literal["most", "least"]
# Steps where the number of features in a step is not given.
STEPS = 32


def pixel_flipping(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    first: First = "most",
    features_per_step: int | None = None,
    together: bool = True,
    baseline: Baseline = "zero",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while features are flipped, a fixed number at a time.

    Point i has min(i k, F) of F features replaced by the baseline, the most relevant first (MoRF)
    or the least relevant first (LeRF, the same order backwards). Low is better for ``most``, high
    for ``least``. Point 0 is the intact picture, which Quantus' ``PixelFlipping`` leaves out: its
    curve is ``scores[:, 1:]`` with ``together=False`` (for one channel the two are the same) and
    its baseline ``black`` is ``x.amin((1, 2, 3), keepdim=True)``.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, ``(N, 1, H, W)`` or ``(N, C, H, W)``, in any unit; summed over
            channels if ``together``.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        first: ``most`` or ``least``.
        features_per_step: k, at most F; the last step takes what is left. None is F / 32, rounded
            up.
        together: Whether a feature is a pixel with all its channels (F = H W); if not, each value
            is one (F = C H W), and a map without channels ranks all of a pixel's alike.
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
        MetricInputError: For shapes that disagree, NaN, a step larger than the picture, or a blur
            that does not fit it.

    Source:
        Bach et al., PLoS ONE 10(7), 2015; Samek et al., IEEE TNNLS 28(11), 2017 (MoRF and LeRF;
        recalled). Quantus 0.6, ``metrics/faithfulness/pixel_flipping.py``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 2, 1, 0], [0, 0, 0, 0]]))
        >>> x, maps = torch.ones(1, 1, 2, 2), torch.tensor([[[3.0, 2], [1, 0]]])
        >>> flip = {"features_per_step": 1, "score": "logit"}
        >>> pixel_flipping(model, x, maps, 0, **flip).scores
        tensor([[6., 3., 1., 0., 0.]])
        >>> pixel_flipping(model, x, maps, 0, first="least", **flip).scores
        tensor([[6., 6., 5., 3., 0.]])
    """
    check_images(x)
    if first not in get_args(First):
        raise MetricInputError(f"first={first!r} is unknown; choose one of {get_args(First)}.")
    visit = Visit(order, seed, least_first=first == "least", together=together)
    features = visit.features(x)
    size = -(-features // STEPS) if features_per_step is None else features_per_step
    check_count("features_per_step", size, 1, features)
    points = torch.arange(-(-features // size) + 1, device=x.device)
    return replace_pixels(
        model,
        x,
        maps,
        target,
        (points * size).clamp(max=features),
        visit,
        fills(x, baseline, seed),
        inserts=False,
        score=score,
        chunk_size=chunk_size,
    )


def morf_lerf_gap(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    features_per_step: int | None = None,
    together: bool = True,
    baseline: Baseline = "zero",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Area between the two curves of :func:`pixel_flipping`, LeRF minus MoRF (ABPC).

    A map that ranks nothing gets 0 on average and its negative the negative; high is better.

    Args:
        model: As for :func:`pixel_flipping`.
        x: As for :func:`pixel_flipping`.
        maps: As for :func:`pixel_flipping`.
        target: As for :func:`pixel_flipping`.
        features_per_step: As for :func:`pixel_flipping`.
        together: As for :func:`pixel_flipping`.
        baseline: As for :func:`pixel_flipping`.
        order: As for :func:`pixel_flipping`.
        score: As for :func:`pixel_flipping`.
        chunk_size: As for :func:`pixel_flipping`.
        seed: As for :func:`pixel_flipping`.

    Returns:
        ``(N,)``, in units of the score.

    Raises:
        MetricInputError: As for :func:`pixel_flipping`.

    Source:
        Samek et al., IEEE TNNLS 28(11), 2017, area between perturbation curves (recalled).

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 2, 1, 0], [0, 0, 0, 0]]))
        >>> x, maps = torch.ones(1, 1, 2, 2), torch.tensor([[[3.0, 2], [1, 0]]])
        >>> gap = {"features_per_step": 1, "score": "logit"}
        >>> morf_lerf_gap(model, x, maps, 0, **gap), morf_lerf_gap(model, x, -maps, 0, **gap)
        (tensor([2.5000]), tensor([-2.5000]))
    """
    curves = {}
    for first in get_args(First):
        curves[first] = pixel_flipping(
            model,
            x,
            maps,
            target,
            first=first,
            features_per_step=features_per_step,
            together=together,
            baseline=baseline,
            order=order,
            score=score,
            chunk_size=chunk_size,
            seed=seed,
        )
    return curves["least"].auc - curves["most"].auc
