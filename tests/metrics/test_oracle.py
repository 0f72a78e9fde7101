"""A right map beats a random one, which beats a wrong one, on pictures whose truth is known."""

from __future__ import annotations

from biasmatters.metrics.functional import deletion, insertion
from tests.metrics.oracle import shapes_case


def test_deletion_and_insertion_rank_oracle_random_anti() -> None:
    case = shapes_case()
    for metric, sign in ((deletion, -1), (insertion, 1)):
        best, middle, worst = (
            sign * float(metric(case.model, case.x, maps, case.target, baseline="zero").auc.mean())
            for maps in (case.oracle, case.random, case.anti)
        )
        assert best > middle + 0.03
        assert middle > worst + 0.03
