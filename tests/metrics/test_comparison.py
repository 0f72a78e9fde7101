"""Comparisons of methods against loops in numpy, scipy's t-test, hand-worked cases and chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.bootstrap import bootstrap_interval
from biasmatters.metrics.functional.comparison import (
    Comparison,
    Correction,
    Pair,
    compare_methods,
)
from biasmatters.metrics.functional.holm import holm

Array = NDArray[np.float64]
CORRECTIONS: tuple[Correction, ...] = ("max_t", "holm", "none")


def correlated(n: int, methods: int, seed: int, shift: float = 0.0) -> dict[str, Tensor]:
    """Scores of which half the variance is the picture's; each method ``shift`` above the last."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    own = torch.randn(n, methods, generator=generator, dtype=torch.float64)
    table = picture + own + shift * torch.arange(methods)
    return {f"m{i:02}": table[:, i] for i in range(methods)}


def between(found: Comparison) -> dict[tuple[str, str], Pair]:
    return {(pair.first, pair.second): pair for pair in found.pairs}


def ranges(found: Comparison) -> dict[str, tuple[int, int, int]]:
    return {p.name: (p.rank, p.rank_low, p.rank_high) for p in found.places}


def numpy_step_down(table: Array, draws: Array) -> dict[tuple[int, int], tuple[float, float]]:
    """Adjusted p and half-width of every pair, one draw, one step and one pair at a time."""
    n, methods = table.shape
    pairs = [(i, j) for i in range(methods) for j in range(i + 1, methods)]
    observed, resampled, spread = {}, {}, {}
    for i, j in pairs:
        gaps = table[:, i] - table[:, j]
        t = stats.ttest_1samp(gaps, 0).statistic
        observed[i, j] = stats.norm.isf(stats.t.sf(abs(t), n - 1))
        spread[i, j] = gaps.std()
        resampled[i, j] = np.array(
            [abs(gaps[draw].mean() - gaps.mean()) / (gaps.std() / np.sqrt(n)) for draw in draws]
        )
    left, p_values, last = sorted(pairs, key=lambda p: -observed[p]), {}, 0.0
    peaks = np.array([max(resampled[p][b] for p in pairs) for b in range(len(draws))])
    critical = np.sort(peaks)[int(np.ceil(0.95 * (len(draws) + 1))) - 1]
    half = stats.t.isf(stats.norm.sf(critical), n - 1)
    for step, pair in enumerate(left):
        hits = sum(
            max(resampled[p][b] for p in left[step:]) >= observed[pair] for b in range(len(draws))
        )
        last = max(last, (1 + hits) / (len(draws) + 1))
        p_values[pair] = last
    return {p: (p_values[p], half * spread[p] / np.sqrt(n - 1)) for p in pairs}


def test_max_t_equals_its_definition_in_loops() -> None:
    scores = correlated(25, 5, seed=3, shift=0.25)
    draws = torch.randint(25, (150, 25), generator=torch.Generator().manual_seed(7)).numpy()
    table = np.stack([s.numpy() for s in scores.values()], 1)
    expected, names = numpy_step_down(table, draws), list(scores)
    found = between(compare_methods(scores, higher_is_better=False, resamples=150, seed=7))
    assert len(found) == 10
    for (first, second), pair in found.items():
        low, high = sorted((names.index(first), names.index(second)))
        p_value, half = expected[low, high]
        assert pair.p_value == pytest.approx(p_value, abs=1e-12)
        gap = table[:, names.index(first)].mean() - table[:, names.index(second)].mean()
        assert [pair.value, pair.low, pair.high] == pytest.approx([gap, gap - half, gap + half])
    assert 0 < sum(pair.real for pair in found.values()) < 10


@pytest.mark.parametrize(("n", "methods"), [(40, 6), (12, 10)])
@pytest.mark.parametrize("correction", ["max_t", "holm"])
def test_without_differences_few_data_sets_show_any(
    correction: Correction, n: int, methods: int
) -> None:
    wrong = 0
    for seed in range(200):
        found = compare_methods(
            correlated(n, methods, seed),
            higher_is_better=True,
            correction=correction,
            resamples=199,
            seed=seed,
        )
        wrong += any(pair.real for pair in found.pairs)
    assert wrong / 200 <= (0.09 if n > 20 else 0.12)
    if correction == "max_t":
        assert wrong / 200 >= 0.01


def test_uncorrected_pairs_do_show_some() -> None:
    wrong = 0
    for seed in range(60):
        scores = correlated(40, 6, seed)
        found = compare_methods(scores, higher_is_better=True, correction="none", resamples=20)
        wrong += any(pair.real for pair in found.pairs)
    assert wrong / 60 > 0.15


def test_true_ranks_lie_in_their_ranges() -> None:
    missed = 0
    for seed in range(100):
        scores = correlated(60, 7, seed, shift=0.2)
        found = ranges(compare_methods(scores, higher_is_better=False, resamples=199, seed=seed))
        truth = {name: rank for rank, name in enumerate(scores, 1)}
        missed += any(not low <= truth[name] <= high for name, (_, low, high) in found.items())
        assert found["m00"][2] < 7
    assert missed / 100 <= 0.1


def test_a_clear_difference_is_found_among_thirty() -> None:
    scores = correlated(200, 30, seed=0)
    scores["m17"] = scores["m17"] + 1
    for correction in ("max_t", "holm"):
        found = compare_methods(scores, higher_is_better=True, correction=correction)
        assert len(found.pairs) == 435
        best = found.places[0]
        assert (best.name, best.rank_low, best.rank_high) == ("m17", 1, 1)
        assert (best.wins, best.losses) == (29, 0)
        rest = [p for p in found.pairs if "m17" not in (p.first, p.second)]
        assert not any(p.real for p in rest)


def test_step_down_finds_more_than_one_maximum_would() -> None:
    found = compare_methods(correlated(80, 9, seed=5, shift=0.3), higher_is_better=True)
    assert all(pair.real for pair in found.pairs if pair.separates)
    assert sum(pair.real for pair in found.pairs) > sum(pair.separates for pair in found.pairs)


def test_ranges_worked_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(4, 60, generator=generator, dtype=torch.float64)
    # Means 0, 0.2, 0.2, 1 after centring; b and c differ by chance alone.
    levels = torch.tensor([0.0, 0.2, 0.2 + 1e-6, 1.0]).double()[:, None]
    table = noise - noise.mean(1, keepdim=True) + levels
    scores = dict(zip("abcd", table, strict=True))
    for correction in CORRECTIONS:
        low = ranges(compare_methods(scores, higher_is_better=False, correction=correction))
        assert low == {"a": (1, 1, 1), "b": (2, 2, 3), "c": (3, 2, 3), "d": (4, 4, 4)}
        high = ranges(compare_methods(scores, higher_is_better=True, correction=correction))
        assert high == {"d": (1, 1, 1), "c": (2, 2, 3), "b": (3, 2, 3), "a": (4, 4, 4)}
    places = compare_methods(scores, higher_is_better=True).places
    assert [p.name for p in places] == list("dcba")
    assert [(p.wins, p.losses) for p in places] == [(3, 0), (1, 1), (1, 1), (0, 3)]


def test_holm_worked_by_hand() -> None:
    p_values = torch.tensor([0.01, 0.04, 0.03, 0.005, 0.9], dtype=torch.float64)
    # 5 x .005, 4 x .01, 3 x .03, 2 x .04 raised to .09, .9
    assert holm(p_values).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm(torch.tensor([0.6, 0.7])).tolist() == [1, 1]
    assert holm(torch.empty(0)).tolist() == []
    for bad in (torch.tensor([1.2]), torch.tensor([torch.nan]), torch.ones(1, 1)):
        with pytest.raises(MetricInputError, match="p_values"):
            holm(bad)


def test_t_tests_are_scipys() -> None:
    scores = correlated(18, 4, seed=1, shift=0.3)
    single = compare_methods(scores, higher_is_better=True, correction="none", confidence=0.9)
    corrected = between(compare_methods(scores, higher_is_better=True, correction="holm"))
    p_values = []
    for pair in single.pairs:
        test = stats.ttest_rel(scores[pair.first].numpy(), scores[pair.second].numpy())
        p_values.append(test.pvalue)
        ends = test.confidence_interval(0.9)
        assert [pair.low, pair.high] == pytest.approx([ends.low, ends.high])
        wide = test.confidence_interval(1 - 0.05 / 6)
        other = corrected[pair.first, pair.second]
        assert [other.low, other.high] == pytest.approx([wide.low, wide.high])
    assert [pair.p_value for pair in single.pairs] == pytest.approx(p_values)
    expected = holm(torch.tensor(p_values, dtype=torch.float64)).tolist()
    assert [pair.p_value for pair in corrected.values()] == pytest.approx(expected)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_neither_order_nor_chunks_change_anything(
    correction: Correction, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, state = correlated(30, 6, seed=2, shift=0.2), torch.get_rng_state()
    found = compare_methods(scores, higher_is_better=True, correction=correction)
    turned = dict(reversed(scores.items()))
    assert compare_methods(turned, higher_is_better=True, correction=correction) == found
    other = compare_methods(scores, higher_is_better=True, correction=correction, seed=1)
    assert other.places != found.places
    monkeypatch.setattr("biasmatters.metrics.functional.resampling.DRAWS_PER_BLOCK", 100)
    monkeypatch.setattr("biasmatters.metrics.functional.step_down.FIGURES_PER_BLOCK", 100)
    pieces = compare_methods(scores, higher_is_better=True, correction=correction)
    for one, whole in zip(pieces.pairs, found.pairs, strict=True):
        assert (one.first, one.second, one.p_value) == (whole.first, whole.second, whole.p_value)
        assert [one.low, one.high] == pytest.approx([whole.low, whole.high], rel=1e-9)
    assert ranges(pieces) == ranges(found)
    assert torch.equal(state, torch.get_rng_state())


def test_turning_the_scores_over_turns_nothing_else() -> None:
    scores = correlated(30, 6, seed=2, shift=0.2)
    up = compare_methods(scores, higher_is_better=True)
    down = compare_methods({k: -s for k, s in scores.items()}, higher_is_better=False)
    assert ranges(up) == ranges(down)
    assert [p.p_value for p in up.pairs] == [p.p_value for p in down.pairs]
    assert [p.value for p in up.pairs] == pytest.approx([-p.value for p in down.pairs])
    assert all(p.value >= 0 for p in up.pairs)
    assert all(p.high >= p.value >= p.low for p in up.pairs)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_twins_share_a_rank_and_spoil_nothing(correction: Correction) -> None:
    scores = correlated(50, 4, seed=4, shift=0.5)
    alone = between(compare_methods(scores, higher_is_better=True, correction=correction))
    scores["twin"] = scores["m03"].clone()
    scores["rounded"] = scores["m03"] + 1e-15 * torch.arange(50)
    found = compare_methods(scores, higher_is_better=True, correction=correction)
    pairs = between(found)
    assert pairs["m03", "twin"].p_value == 1
    assert (pairs["m03", "twin"].low, pairs["m03", "twin"].high) == (0, 0)
    assert pairs["rounded", "twin"].p_value == 1
    where = ranges(found)
    assert where["m03"][0] == where["twin"][0] == 2  # behind m03 + round-off
    assert where["m03"][1:] == where["twin"][1:] == where["rounded"][1:]
    if correction == "none":
        assert pairs["m02", "m00"] == alone["m02", "m00"]
    for pair in found.pairs:
        assert np.isfinite([pair.value, pair.low, pair.high, pair.p_value]).all()


def test_twins_do_not_raise_the_bar_of_max_t() -> None:
    scores = correlated(50, 4, seed=4, shift=0.5)
    alone = between(compare_methods(scores, higher_is_better=True))
    scores["m04"] = scores["m03"] + 1e-15 * torch.arange(50)
    found = between(compare_methods(scores, higher_is_better=True))
    for key, pair in alone.items():
        assert found[key].p_value == pytest.approx(pair.p_value, abs=1e-12)
        assert found[key].low == pytest.approx(pair.low, rel=1e-6)


def test_a_constant_shift_is_as_real_as_can_be() -> None:
    scores = correlated(50, 3, seed=4)
    scores["above"] = scores["m01"] + 5
    cases: dict[Correction, float] = {"max_t": 1 / 2001, "holm": 0.0}
    for correction, least in cases.items():
        found = compare_methods(scores, higher_is_better=True, correction=correction)
        assert between(found)["above", "m01"].p_value == pytest.approx(least)
        assert found.places[0].rank_high == 1


def test_mostly_equal_scores_still_compare() -> None:
    # Hits of 0 and 1: two methods that differ on three pictures of 200, and one far below.
    same = (torch.arange(200) % 2 == 0).double()
    few = same.clone()
    few[[1, 3, 5]] = 1
    scores = {"same": same, "few": few, "none": torch.zeros(200).double()}
    found = compare_methods(scores, higher_is_better=True)
    assert ranges(found) == {"few": (1, 1, 2), "same": (2, 1, 2), "none": (3, 3, 3)}


def test_means_have_the_intervals_of_one_alone() -> None:
    scores = correlated(40, 3, seed=6)
    for place in compare_methods(scores, higher_is_better=True, seed=5).places:
        interval = bootstrap_interval(scores[place.name], seed=5)
        expected = [interval.value, interval.low, interval.high]
        assert [place.value, place.low, place.high] == pytest.approx(expected)
        assert (place.n, place.confidence) == (40, 0.95)


def test_any_dtype_and_one_method_alone() -> None:
    scores = {k: s.float() for k, s in correlated(40, 3, seed=6).items()}
    wide = {k: s.double() for k, s in scores.items()}
    assert compare_methods(scores, higher_is_better=True) == compare_methods(
        wide, higher_is_better=True
    )
    for correction in CORRECTIONS:
        alone = compare_methods(
            {"only": torch.arange(5)}, higher_is_better=True, correction=correction
        )
        assert alone.pairs == ()
        assert ranges(alone) == {"only": (1, 1, 1)}
        assert alone.places[0].value == 2


def test_bad_input_is_refused() -> None:
    good = {"a": torch.arange(4.0), "b": torch.ones(4)}

    def refused(match: str, scores: dict[str, Tensor] = good, **settings: object) -> None:
        with pytest.raises(MetricInputError, match=match):
            compare_methods(scores, higher_is_better=True, **settings)  # type: ignore[arg-type]

    refused("no scores", {})
    refused("one shape", {**good, "c": torch.ones(3)})
    refused("one shape", {"a": torch.ones(1)})
    refused("one shape", {"a": torch.ones(3, 2)})
    refused("scores of c hold NaN", {**good, "c": torch.tensor([1.0, torch.nan, 0, 0])})
    refused("confidence", confidence=1.0)
    refused("choose from", correction="bonferroni")
    refused("at least 19", resamples=18)
    refused("resamples", resamples=0, correction="none")
    assert compare_methods(good, higher_is_better=True, resamples=19).pairs
