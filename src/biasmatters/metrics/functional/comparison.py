"""Which methods really differ: all of them on the same pictures, every pair at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count
from biasmatters.metrics.functional.bootstrap import Difference, Interval
from biasmatters.metrics.functional.pairing import Pairing
from biasmatters.metrics.functional.resampling import (
    check_confidence,
    percentiles,
    resampled_means,
)

Correction = Literal["max_t", "holm", "none"]
ROUNDING = 1e-12


@dataclass(frozen=True)
class Place(Interval):
    """Where one method stands: its mean with a bootstrap interval, and its rank.

    Attributes:
        name: Of the method.
        rank: 1 + the number of methods with a better mean; equal means share a rank.
        rank_low: Best rank that the real differences leave, 1 + losses.
        rank_high: Worst rank that they leave, M - wins.
        wins: Number of methods that are really worse.
        losses: Number of methods that are really better.
    """

    name: str
    rank: int
    rank_low: int
    rank_high: int
    wins: int
    losses: int


@dataclass(frozen=True)
class Pair(Difference):
    """The mean paired difference of two methods, first minus second.

    Attributes:
        first: The method with the better mean.
        second: The other.
    """

    first: str
    second: str

    @property
    def real(self) -> bool:
        """Whether the adjusted p-value is at most 1 - confidence."""
        return self.p_value <= 1 - self.confidence + ROUNDING


@dataclass(frozen=True)
class Comparison:
    """All methods against each other.

    Attributes:
        places: One per method, best mean first; equal means by name.
        pairs: One per pair of methods, in the order of ``places``.
        higher_is_better: What best means.
        correction: How the pairs are corrected for being many.
    """

    places: tuple[Place, ...]
    pairs: tuple[Pair, ...]
    higher_is_better: bool
    correction: Correction


def compare_methods(
    scores: Mapping[str, Tensor],
    *,
    higher_is_better: bool,
    correction: Correction = "max_t",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Rank methods scored on the same pictures, and say which of their differences are real.

    With d the mean difference of a pair over N pictures and s the standard deviation of the N
    differences, t = d sqrt(N - 1) / s (s with the divisor N). The corrections of the P pairs:

    - ``max_t``: step-down max-t. Pictures are resampled jointly for all methods; the resampled
      z* = |d* - d| sqrt(N) / s of all pairs give the law of the largest of them, and
      p_(k) = max_{j <= k} (1 + #{b: max_{l >= j} z*_(l) >= z_(j)}) / (B + 1) over the pairs by
      falling z (:func:`step_down`). z is t's normal score, the z with the tail that t has at
      N - 1 degrees of freedom: s is not estimated anew in every draw, which would let few
      pictures pass for many (and has no finite value where scores are mostly equal). The smallest
      p-value is 1 / (B + 1) for any number of pairs. Intervals are d +- c s / sqrt(N - 1), c from
      the (1 - alpha) quantile of the largest z*: they hold for all pairs together, but are those
      of the first step, so a p-value may find what its interval does not separate.
    - ``holm``: paired t-tests, adjusted by :func:`holm`. A bootstrap p-value is at least
      1 / (B + 1), and times 703 pairs never reaches 0.05; a t-test's has no such floor, but takes
      the mean difference for normal. Intervals are Bonferroni's.
    - ``none``: the same t-tests and intervals for each pair by itself.

    Both corrections bound the probability of any false difference by 1 - confidence, so that with
    this confidence all true ranks lie in their ranges together; ``max_t`` for N that are not
    small (about 20 and more).

    Args:
        scores: By method, ``(N,)`` one figure per picture, the same pictures in the same order.
        higher_is_better: Whether a large score is good.
        correction: ``max_t``, ``holm`` or ``none``.
        confidence: Between 0 and 1; a difference is real where its adjusted p-value is at most
            1 - confidence.
        resamples: Number of joint draws B of N pictures.
        seed: Of a generator of its own.

    Returns:
        Places and pairs, float64. The order of the methods in ``scores`` changes nothing.

    Raises:
        MetricInputError: If the scores are not of one length N >= 2 or not finite, or if
            ``resamples`` is too small for any p-value of ``max_t`` to reach 1 - confidence.

    Source:
        Romano, Wolf 2005, Stepwise multiple testing as formalized data snooping, Econometrica 73;
        Westfall, Young 1993, Resampling-based multiple testing; Holm 1979; ranges of ranks as in
        Mogstad, Romano, Shaikh, Wilhelm 2024, Inference for ranks, Review of Economic Studies
        (all recalled). The normal score of t is ours.

    Example:
        >>> import torch
        >>> hard = torch.linspace(0, 9, 50)
        >>> noise = torch.randn(50, generator=torch.Generator().manual_seed(0))
        >>> scores = {"a": hard, "b": hard + 1 + noise, "c": hard + 1.01 - noise}
        >>> found = compare_methods(scores, higher_is_better=True)
        >>> [(p.name, p.rank_low, p.rank_high) for p in found.places]
        [('b', 1, 2), ('c', 1, 2), ('a', 3, 3)]
    """
    _check_settings(correction, confidence, resamples)
    names, table = _table(scores)
    means = [math.fsum(row) / len(row) for row in table.tolist()]
    sign = -1 if higher_is_better else 1
    order = sorted(range(len(names)), key=lambda i: (sign * means[i], names[i]))
    names = [names[i] for i in order]
    value = torch.tensor([means[i] for i in order], dtype=torch.float64)
    table = table[order]
    centred = table - value[:, None]
    draws = resampled_means(centred.T.contiguous(), resamples=resamples, seed=seed)
    pairing = Pairing.of(table, value)
    p_values, half = (
        pairing.by_bootstrap(draws, confidence)
        if correction == "max_t"
        else pairing.by_student(confidence, corrected=correction == "holm")
    )
    n, ends = table.shape[1], percentiles(draws, confidence)
    pairs = tuple(
        Pair(gap, gap - width, gap + width, n, confidence, p, names[first], names[second])
        for gap, width, p, first, second in zip(
            *(c.tolist() for c in (pairing.gap, half, p_values, pairing.first, pairing.second)),
            strict=True,
        )
    )
    places = _places(names, value, (ends[0] + value, ends[1] + value), pairs, n, confidence)
    return Comparison(places, pairs, higher_is_better, correction)


def _check_settings(correction: str, confidence: float, resamples: int) -> None:
    """Refuse what has no meaning, and draws too few for any difference to be found."""
    if correction not in get_args(Correction):
        raise MetricInputError(f"correction={correction!r}: choose from {get_args(Correction)}.")
    check_confidence(confidence)
    check_count("resamples", resamples, 1)
    least = math.ceil(1 / (1 - confidence) - 1 - ROUNDING)
    if correction == "max_t" and resamples < least:
        raise MetricInputError(
            f"resamples={resamples}: no p-value could reach {1 - confidence:g}; draw at least "
            f"{least}, better 2000."
        )


def _table(scores: Mapping[str, Tensor]) -> tuple[list[str], Tensor]:
    """Names and their scores ``(M, N)``, float64 on the CPU."""
    if not scores:
        raise MetricInputError("no scores to compare; give at least one method's.")
    names = list(scores)
    shapes = {name: tuple(scores[name].shape) for name in names}
    if len(set(shapes.values())) > 1 or len(shapes[names[0]]) != 1 or shapes[names[0]][0] < 2:
        raise MetricInputError(
            f"scores need one shape (N,) with N >= 2, the same pictures for all; got {shapes}."
        )
    table = torch.stack([scores[name].detach().cpu().double() for name in names])
    bad = [name for name, row in zip(names, table, strict=True) if not bool(row.isfinite().all())]
    if bad:
        raise MetricInputError(
            f"scores of {', '.join(bad)} hold NaN or infinity; leave out those pictures for every "
            "method, or repair the metric."
        )
    return names, table


def _places(
    names: list[str],
    value: Tensor,
    ends: tuple[Tensor, Tensor],
    pairs: tuple[Pair, ...],
    n: int,
    confidence: float,
) -> tuple[Place, ...]:
    """Means with intervals, ranks, and the ranges that the real differences leave."""
    wins, losses = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for pair in pairs:
        wins[pair.first] += pair.real
        losses[pair.second] += pair.real
    means, low, high = value.tolist(), ends[0].tolist(), ends[1].tolist()
    return tuple(
        Place(
            means[i],
            low[i],
            high[i],
            n,
            confidence,
            name,
            rank=1 + means.index(means[i]),
            rank_low=1 + losses[name],
            rank_high=len(names) - wins[name],
            wins=wins[name],
            losses=losses[name],
        )
        for i, name in enumerate(names)
    )
