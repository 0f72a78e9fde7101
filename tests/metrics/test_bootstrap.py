"""Bootstrap intervals against the normal theory and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biasmatters.metrics.functional import (
    MetricInputError,
    bootstrap_band,
    bootstrap_interval,
    paired_bootstrap,
)
from biasmatters.metrics.functional.resampling import resampled_means


def sample(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_the_normal_interval() -> None:
    values = sample(2000)
    interval = bootstrap_interval(values, resamples=4000)
    half = 1.96 * float(values.std()) / 2000**0.5
    assert interval.value == pytest.approx(float(values.mean()), abs=1e-6)
    assert interval.high - interval.value == pytest.approx(half, rel=0.1)
    assert interval.value - interval.low == pytest.approx(half, rel=0.1)


def test_agrees_with_a_plain_loop() -> None:
    values = sample(40).exp()
    rng = np.random.default_rng(1)
    means = [rng.choice(values.numpy(), 40).mean() for _ in range(6000)]
    interval = bootstrap_interval(values, confidence=0.9, resamples=6000)
    expected = np.quantile(means, [0.05, 0.95])
    assert [interval.low, interval.high] == pytest.approx(expected.tolist(), rel=0.03)


def test_covers_as_often_as_it_says() -> None:
    intervals = (bootstrap_interval(sample(60, s), resamples=400, seed=s) for s in range(200))
    hits = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert 0.90 <= hits / 200 <= 0.99


def test_seeded_and_local() -> None:
    state, values = torch.get_rng_state(), sample(50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)
    assert torch.equal(state, torch.get_rng_state())


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.stack([sample(50), sample(50, 1)], 1)
    whole = resampled_means(values, resamples=33)
    assert whole.shape == (33, 2)
    monkeypatch.setattr("biasmatters.metrics.functional.resampling.DRAWS_PER_BLOCK", 260)
    torch.testing.assert_close(resampled_means(values, resamples=33), whole, rtol=1e-12, atol=0)


def test_draws_are_pictures_taken_together() -> None:
    values = torch.stack([sample(30), 2 - sample(30)], 1).double()
    draws = torch.randint(30, (20, 30), generator=torch.Generator().manual_seed(4))
    means = resampled_means(values, resamples=20, seed=4)
    torch.testing.assert_close(means, torch.stack([values[d].mean(0) for d in draws]))
    torch.testing.assert_close(means.sum(1), torch.full((20,), 2.0).double())


def test_a_band_is_the_interval_of_every_column() -> None:
    values = torch.stack([sample(80), sample(80, 1)], 1)
    band = bootstrap_band(values)
    for column in (0, 1):
        interval = bootstrap_interval(values[:, column])
        assert float(band.low[column]) == pytest.approx(interval.low)
        assert float(band.high[column]) == pytest.approx(interval.high)


def test_pairing_finds_a_small_difference_that_intervals_overlap() -> None:
    hard = 10 * sample(100)
    better = hard + 0.2 + 0.1 * sample(100, 1)
    first, second = bootstrap_interval(better), bootstrap_interval(hard)
    assert first.low < second.high
    gap = paired_bootstrap(better, hard)
    assert gap.separates
    assert gap.p_value < 0.01
    assert gap.value == pytest.approx(float((better - hard).mean()), abs=1e-6)


def test_no_difference_is_not_found() -> None:
    gap = paired_bootstrap(sample(200), sample(200, 7))
    assert not gap.separates
    assert gap.p_value > 0.05
    assert paired_bootstrap(sample(9), sample(9)).p_value == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(MetricInputError, match="N >= 2"):
        bootstrap_interval(torch.ones(1))
    with pytest.raises(MetricInputError, match=r"expected \(N,\)"):
        bootstrap_interval(torch.ones(3, 2))
    with pytest.raises(MetricInputError, match="NaN"):
        bootstrap_interval(torch.tensor([1.0, torch.nan]))
    with pytest.raises(MetricInputError, match="confidence"):
        bootstrap_interval(torch.ones(3), confidence=1.0)
    with pytest.raises(MetricInputError, match="pairs need"):
        paired_bootstrap(torch.ones(3), torch.ones(4))
    with pytest.raises(MetricInputError, match="resamples"):
        bootstrap_interval(torch.ones(3), resamples=0)
