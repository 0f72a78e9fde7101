"""Sensitivity-n: do attributions of random subsets follow the drop of the output?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import (
    ConstantMapWarning,
    MetricInputError,
    check_count,
    check_images,
)
from biasmatters.metrics.functional._draws import inner_products
from biasmatters.metrics.functional._maps import pixel_values
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.substrate import Baseline, substrate

LARGEST = 0.8


def sensitivity_n(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    n: float = 0.1,
    subsets: int = 100,
    baseline: Baseline = "zero",
    score: Score = "logit",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Correlate the attributions of random subsets of n pixels with the drop of the output.

    corr_S( sum_{i in S} a_i , f(x) - f(x with the pixels of S replaced) ), Pearson's, over random
    S of n of the P pixels, all channels together; the same subsets for every picture. High is
    better, 1 is the most. Because S always has n pixels, a map plus a constant scores as the map
    does, and so does a multiple: the total of a map is not judged, be it f(x) - f(0) or, as with
    w.x + BBp, f(x).

    Where one side does not vary the correlation is not defined and 0 is returned: for a constant
    map (which warns), for one that is the same on all subsets drawn, and for an output that
    moves by no more than round-off.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        n: Pixels in a subset, 1..P-1, or their share of P as a float between 0 and 1.
        subsets: How many subsets are drawn, at least 2.
        baseline: What replaces a pixel: ``zero`` (in that input space), ``mean``, ``blur``,
            ``noise`` or a tensor.
        score: Raw ``logit`` or softmax ``probability``.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the subsets, and of a noise baseline.

    Returns:
        ``(N,)`` correlations in [-1, 1], on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, or an impossible n or number of subsets.

    Source:
        Ancona, Ceolini, Oeztireli, Gross: Towards better understanding of gradient-based
        attribution methods, ICLR 2018 (protocol recalled: zero baseline, 100 subsets for each n,
        outputs before the softmax).

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
        >>> x = torch.rand(1, 1, 3, 3)
        >>> exact = x * model[1].weight[1].detach().view(1, 1, 3, 3)
        >>> bool(sensitivity_n(model, x, exact, 1, n=3) > 0.9999)
        True
        >>> bool(sensitivity_n(model, x, -exact, 1, n=3) < -0.9999)
        True
    """
    found, _ = _correlations(
        model, x, maps, target, [n], subsets, baseline, score, chunk_size, seed
    )
    return found[:, 0]


def sensitivity_n_curve(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    sizes: Sequence[int | float] | None = None,
    points: int = 12,
    subsets: int = 100,
    baseline: Baseline = "zero",
    score: Score = "logit",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow :func:`sensitivity_n` over several n.

    All n share their random orders (S of size n is the first n pixels of one), so each point is
    what :func:`sensitivity_n` gives for that n. The area is over n / P on a linear axis and so is
    made of the large n; where the small n matter, read the scores.

    Args:
        model: As for :func:`sensitivity_n`.
        x: As for :func:`sensitivity_n`.
        maps: As for :func:`sensitivity_n`.
        target: As for :func:`sensitivity_n`.
        sizes: The n, each as for :func:`sensitivity_n`, two or more different ones; None is
            ``points`` of them, spaced evenly in log n from 1 to 0.8 P.
        points: How many where ``sizes`` is None; those that round to the same n count once.
        subsets: As for :func:`sensitivity_n`.
        baseline: As for :func:`sensitivity_n`.
        score: As for :func:`sensitivity_n`.
        chunk_size: As for :func:`sensitivity_n`.
        seed: As for :func:`sensitivity_n`.

    Returns:
        The correlations ``(N, points)`` over ``n / P``, rising; high is better.

    Raises:
        MetricInputError: As for :func:`sensitivity_n`, and for fewer than two different n.

    Source:
        As for :func:`sensitivity_n`; the range of n, 1 to about 80 %, is recalled.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> x = torch.rand(1, 1, 4, 4)
        >>> exact = x * model[1].weight[1].detach().view(1, 1, 4, 4)
        >>> curve = sensitivity_n_curve(model, x, exact, 1, sizes=[1, 0.25, 8])
        >>> curve.fractions.tolist(), round(float(curve.auc), 3)
        ([0.0625, 0.25, 0.5], 1.0)
    """
    check_images(x)
    pixels = x.shape[2] * x.shape[3]
    if sizes is None:
        check_count("points", points, 2)
        top = math.log(max(1, int(LARGEST * pixels)))
        sizes = [round(math.exp(top * i / (points - 1))) for i in range(points)]
    counts = sorted({_count(n, pixels) for n in sizes})
    if len(counts) < 2:
        raise MetricInputError(f"the sizes come to n = {counts}; a curve needs two different n.")
    found, chosen = _correlations(
        model, x, maps, target, counts, subsets, baseline, score, chunk_size, seed
    )
    return Curve.of(torch.tensor(counts, device=x.device).double() / pixels, found, chosen)


def _correlations(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None,
    sizes: Sequence[int | float],
    subsets: int,
    baseline: Baseline,
    score: Score,
    chunk_size: int | None,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Correlations ``(N, sizes)`` and the classes followed."""
    check_images(x)
    check_count("subsets", subsets, 2)
    height, width = x.shape[-2:]
    values, start = _centred(pixel_values(maps, x)), substrate(x, baseline, seed)
    counts = torch.tensor([_count(n, height * width) for n in sizes], device=x.device)
    rank = _orders(subsets, height * width, seed).to(x.device)

    def removed(some: Tensor) -> Tensor:
        return rank[some % subsets] < counts[some // subsets].unsqueeze(1)

    def draw(rows: slice, some: Tensor) -> Tensor:
        gone = removed(some).view(-1, 1, height, width)
        return torch.where(gone, start[rows].unsqueeze(1), x[rows].unsqueeze(1))

    total = subsets * len(counts)
    places = torch.arange(total, device=x.device)
    scores, chosen = follow(model, x, places, draw, target, score=score, chunk_size=chunk_size)
    shape = (len(x), len(counts), subsets)
    sums = inner_products(values, total, removed).view(shape)
    limit = 4 * torch.finfo(scores.dtype).eps
    return _pearson(sums, -scores.double().view(shape), limit).to(scores), chosen


def _pearson(a: Tensor, b: Tensor, round_off: float) -> Tensor:
    """Pearson's correlation along the last axis; 0 where a side does not vary.

    Args:
        a: ``(..., S)``.
        b: ``(..., S)``.
        round_off: What part of its largest absolute value b may vary by and still be constant.

    Returns:
        ``(...)`` in [-1, 1].
    """
    one, other = _standard(a), _standard(b)
    product = (one * other).sum(-1) / (one.square().sum(-1) * other.square().sum(-1)).sqrt()
    varies = (_spread(a) > 0) & (_spread(b) > round_off * b.abs().amax(-1))
    return torch.where(varies, product, 0.0).clamp(-1, 1)


def _spread(side: Tensor) -> Tensor:
    return side.amax(-1) - side.amin(-1)


def _standard(side: Tensor) -> Tensor:
    """Centred, and of a size that does not underflow when squared."""
    centred = side - side.mean(-1, keepdim=True)
    return centred / centred.abs().amax(-1, keepdim=True)


def _count(n: float, pixels: int) -> int:
    """The pixels in a subset, from their number or their share."""
    if isinstance(n, float):
        if not 0 < n < 1:
            raise MetricInputError(f"n={n} is not a share between 0 and 1; give pixels as an int.")
        n = min(max(1, round(n * pixels)), pixels - 1)
    # All pixels at once are one subset only, which has no correlation.
    check_count("n", n, 1, pixels - 1)
    return n


def _orders(subsets: int, pixels: int, seed: int) -> Tensor:
    """``(subsets, pixels)`` the place of each pixel in random orders."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(pixels, generator=generator) for _ in range(subsets)]
    return torch.stack(orders).int()


def _centred(values: Tensor) -> Tensor:
    """Take a middle value off each ``(N, P)`` map: the same correlation, and constants get 0."""
    flat = int((values == values[:, :1]).all(1).sum())
    if flat:
        warnings.warn(
            f"{flat} of {len(values)} maps are constant: they correlate with nothing, so 0.",
            ConstantMapWarning,
            stacklevel=4,
        )
    return values - values.sort(1).values[:, values.shape[1] // 2].unsqueeze(1)
