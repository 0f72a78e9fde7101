"""How alike two maps of the same picture are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn.functional import pad

from biasmatters.metrics.functional._checks import (
    ConstantMapWarning,
    MetricInputError,
    check_count,
)
from biasmatters.metrics.functional._maps import map_values

Similarity = Literal["spearman", "spearman_absolute", "ssim", "cosine"]


def spearman(a: Tensor, b: Tensor, *, signed: bool = True) -> Tensor:
    """Rank correlation of two maps, ties sharing their mean rank.

    rho = sum_i (r_i - m) (s_i - m) / (P v), with r, s the ranks of the P pixels, m their mean and
    v the geometric mean of the two variances; 1 is the same order, -1 the reverse. A constant
    map has no order: two of them count as alike (1), a constant and another as unlike (0).

    Args:
        a: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        b: Shaped like a.
        signed: Rank by value; False ranks by absolute value. Verdicts flip between the two where
            a method keeps its places and loses its signs, so report both.

    Returns:
        ``(N,)`` float64 in [-1, 1], on a's device.

    Raises:
        MetricInputError: For shapes that disagree, or maps that are not finite.

    Source:
        Spearman 1904; equal to ``scipy.stats.spearmanr``. Both signs: Adebayo et al. 2018.

    Example:
        >>> a = torch.tensor([[[1.0, 2.0, -3.0]]])
        >>> [rho.item() for rho in (spearman(a, a**3), spearman(a, -a))]
        [1.0, -1.0]
        >>> spearman(a, -a, signed=False).item()
        1.0
    """
    left, right = (maps.flatten(1) for maps in _pair(a, b))
    if not signed:
        left, right = left.abs(), right.abs()
    flat = _warned(_flat(left), _flat(right))
    return _correlation(_ranks(left), _ranks(right), *flat)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two maps, a.b / (|a| |b|).

    A map of zeros has no direction: two of them count as alike (1), one and another as unlike (0).

    Args:
        a: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        b: Shaped like a.

    Returns:
        ``(N,)`` float64 in [-1, 1], on a's device.

    Raises:
        MetricInputError: For shapes that disagree, or maps that are not finite.

    Example:
        >>> cosine(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]]))
        tensor([0.6000], dtype=torch.float64)
    """
    left, right = (maps.flatten(1) for maps in _pair(a, b))
    flat = _warned((left == 0).all(1), (right == 0).all(1))
    # Squares of a map in tiny units would underflow.
    left, right = (rows / rows.abs().amax(1, keepdim=True) for rows in (left, right))
    return _correlation(left, right, *flat)


def ssim(
    a: Tensor,
    b: Tensor,
    *,
    window: int = 5,
    percentile: float = 99.5,
    flip: bool = True,
    data_range: float = 2.0,
) -> Tensor:
    """Structural similarity of two maps by the protocol of Sixt et al.

    SSIM = mean over windows of (2 m_u m_v + C1) (2 s_uv + C2) / ((m_u^2 + m_v^2 + C1) (s_u^2 +
    s_v^2 + C2)) as scikit-image computes it, on maps scaled to u = clip((q - a) / (q - p), 0, 1)
    with q and p a's upper and lower percentile; the larger of b and -b. A map whose percentiles
    coincide is scaled by its extremes instead. Two constant maps count as alike (1), a constant
    and another as unlike (0); the authors' code divides by zero in these cases.

    Args:
        a: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        b: Shaped like a; the map that is flipped.
        window: Side of the square windows in pixels, odd.
        percentile: The upper one, in %; the lower is 100 minus it. 100 clips nothing, which the
            authors use for the sparse maps of RectGrad.
        flip: Also compare with -b.
        data_range: Scale of the constants, C1 = (0.01 r)^2 and C2 = (0.03 r)^2. 2 is what the
            authors' scikit-image 0.16 took for floating point; 1 is the range of scaled maps.

    Returns:
        ``(N,)`` float64 in [-1, 1], on a's device.

    Raises:
        MetricInputError: For shapes that disagree, maps that are not finite, or a window or
            percentile that cannot be.

    Source:
        Sixt, Granz, Landgraf: When Explanations Lie, ICML 2020; ``ssim_flipped`` and
        ``normalize_sanity`` of the authors' code (read).

    Example:
        >>> a = torch.arange(64.0).view(1, 8, 8) % 5
        >>> ssim(a, 3 - 7 * a).item(), bool(ssim(a, 3 - 7 * a, flip=False) < 0)
        (1.0, True)
    """
    left, right = _pair(a, b)
    _check_ssim(left, window, percentile, data_range)
    flat = _warned(_flat(left.flatten(1)), _flat(right.flatten(1)))
    u = _scaled(left, percentile)
    compare = partial(structural_similarity, win_size=window, data_range=data_range)
    versions = [_scaled(maps, percentile) for maps in ((right, -right) if flip else (right,))]
    scores = [[float(compare(p, q)) for p, q in zip(u, v, strict=True)] for v in versions]
    return _settled(torch.tensor(scores, dtype=torch.float64, device=a.device).amax(0), *flat)


_BY_NAME: dict[Similarity, Callable[[Tensor, Tensor], Tensor]] = {
    "spearman": spearman,
    "spearman_absolute": partial(spearman, signed=False),
    "ssim": ssim,
    "cosine": cosine,
}


def similarity_of(name: Similarity) -> Callable[[Tensor, Tensor], Tensor]:
    """The similarity of that name, as a function of two maps.

    Raises:
        MetricInputError: If there is none.
    """
    check_similarities([name])
    return _BY_NAME[name]


def check_similarities(names: Iterable[str]) -> None:
    """Refuse an unknown name, a repeated one, or none at all.

    Raises:
        MetricInputError: If so.
    """
    known, given = get_args(Similarity), list(names)
    if not given or len(set(given)) < len(given) or not set(given) <= set(known):
        raise MetricInputError(f"similarities {given} cannot be; choose from {known}, each once.")


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps as ``(N, H, W)`` float64 on a's device."""
    if a.shape != b.shape:
        raise MetricInputError(
            f"maps of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; give two "
            "of the same shape, (N, H, W) or (N, C, H, W)."
        )
    return map_values(a).sum(1), map_values(b).to(a.device).sum(1)


def _flat(rows: Tensor) -> Tensor:
    """Which of the ``(N, P)`` rows are constant."""
    return (rows == rows[:, :1]).all(1)


def _warned(flat_a: Tensor, flat_b: Tensor) -> tuple[Tensor, Tensor]:
    """The same, after saying how many pairs have a map that there is nothing to compare in."""
    bare = int((flat_a | flat_b).sum())
    if bare:
        warnings.warn(
            f"{bare} of {len(flat_a)} pairs hold a constant map: two such maps count as alike, "
            "such a map and another as unlike.",
            ConstantMapWarning,
            stacklevel=3,
        )
    return flat_a, flat_b


def _ranks(rows: Tensor) -> Tensor:
    """Ranks of ``(N, P)`` values less their mean, ties sharing theirs; one sort and no search."""
    count = rows.shape[1]
    ordered, order = rows.sort(1)
    places = torch.arange(count, device=rows.device).expand_as(order)
    step = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(pad(step, (1, 0), value=True), places, 0).cummax(1).values
    last = torch.where(pad(step, (0, 1), value=True), places, count).flip(1).cummin(1).values
    ranks = (first + last.flip(1) + 1 - count).to(rows.dtype) / 2
    return torch.empty_like(rows).scatter_(1, order, ranks)


def _correlation(left: Tensor, right: Tensor, flat_left: Tensor, flat_right: Tensor) -> Tensor:
    """Cosine of ``(N, P)`` rows, but for those that are flat."""
    lengths = ((left * left).sum(1) * (right * right).sum(1)).sqrt()
    found = ((left * right).sum(1) / lengths).clamp(-1, 1)
    return _settled(found, flat_left, flat_right)


def _settled(found: Tensor, flat_a: Tensor, flat_b: Tensor) -> Tensor:
    """What was found, but 1 where both maps are flat and 0 where one is."""
    return torch.where(flat_a | flat_b, (flat_a & flat_b).to(found), found)


def _check_ssim(maps: Tensor, window: int, percentile: float, data_range: float) -> None:
    """Refuse settings that scikit-image or the scaling has no meaning for."""
    check_count("window", window, 3, min(maps.shape[1:]))
    if window % 2 == 0:
        raise MetricInputError(
            f"window={window} is even; a window has a middle pixel: make it odd."
        )
    if not 50 < percentile <= 100:
        raise MetricInputError(f"percentile={percentile} must lie above 50 and be at most 100.")
    if not data_range > 0:
        raise MetricInputError(f"data_range={data_range} must be positive.")


def _scaled(maps: Tensor, percentile: float) -> NDArray[np.float64]:
    """Maps ``(N, H, W)`` clipped and scaled to [0, 1], the largest value at 0 as in the code."""
    values = maps.cpu().numpy()
    high, low = np.percentile(values, [percentile, 100 - percentile], axis=(1, 2), keepdims=True)
    sparse = high == low
    high = np.where(sparse, values.max((1, 2), keepdims=True), high)
    low = np.where(sparse, values.min((1, 2), keepdims=True), low)
    flat = high == low
    scaled = (values - high) / np.where(flat, 1, low - high)
    return np.where(flat, 0.5, np.clip(scaled, 0, 1))
