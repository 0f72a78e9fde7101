"""Medians of ratios, exponents, the race between methods."""

from __future__ import annotations

import math
import time

import pytest

from benchmarks.speed.clock import Entry, race
from benchmarks.speed.statistics import fit_exponent, summarise


def test_the_ratio_is_a_median_of_pairs() -> None:
    found = summarise([2.0, 9.0, 4.0], [1.0, 3.0, 1.0])
    assert (found.ratio, found.low, found.high) == (3.0, 2.5, 3.5)
    assert (found.seconds, found.forward_seconds, found.rounds) == (4.0, 1.0, 3)


def test_a_single_round_has_no_spread() -> None:
    found = summarise([6.0], [2.0])
    assert (found.ratio, found.low, found.high, found.rounds) == (3.0, 3.0, 3.0, 1)


def test_exponents() -> None:
    sizes = [1.0, 2.0, 4.0, 8.0]
    exact = fit_exponent(sizes, [3 * s**1.5 for s in sizes])
    assert exact is not None
    assert exact.exponent == pytest.approx(1.5)
    assert exact.error == pytest.approx(0, abs=1e-9)
    # Residuals of +-d by log-size -1, 0, 1, where the line through their means is level.
    d = 0.3
    rough = fit_exponent([math.exp(-1), 1, math.e], [math.exp(d), math.exp(-2 * d), math.exp(d)])
    assert rough is not None
    assert rough.exponent == pytest.approx(0, abs=1e-12)
    assert rough.error == pytest.approx(d * math.sqrt(6 / 2))
    two = fit_exponent([1, 2], [1, 2])
    assert two is not None
    assert math.isnan(two.error)
    assert fit_exponent([2, 2], [1, 3]) is None


def test_the_race_takes_turns_and_keeps_to_its_budget() -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    entries = {
        "slow": Entry(lambda: time.sleep(0.002), lambda: time.sleep(0.06), warm=False),
        "fast": Entry(lambda: time.sleep(0.002), lambda: time.sleep(0.004)),
        "bad": Entry(lambda: None, fail),
    }
    times = race(entries, rounds=3, budget=0.05, device="cpu")
    assert len(times["slow"].works) == 1
    assert len(times["fast"].works) == len(times["fast"].forwards) == 3
    assert times["bad"].failure == "ValueError: no such thing"
    assert not times["bad"].works
    fast = summarise(times["fast"].works, times["fast"].forwards)
    assert fast.ratio == pytest.approx(2, rel=0.5)
