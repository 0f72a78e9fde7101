"""Result rows of measured figures: intervals in one go are those taken one by one."""

import math

import torch

from biasmatters.stages.measure import Rows
from biasmatters.stages.spec import DataSpec, Part

SPEC = DataSpec(Part("data", {}, dict), Part("net", {}, dict))


def test_many_figures_at_once_have_the_intervals_of_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    figures = {name: torch.rand(40, generator=generator) for name in "abc"}
    figures["gaps"] = figures["a"].where(figures["a"] > 0.5, math.nan)
    figures["none"] = torch.full((40,), math.nan)
    rows = Rows.of(SPEC, "unit", 0, "gradient")
    together = {row.metric: row for row in rows.intervals(figures, "high")}
    assert list(together) == list(figures)
    for name in "abc":
        alone = rows.interval(name, figures[name], "high")
        assert math.isclose(alone.value, together[name].value, rel_tol=1e-12)
        assert math.isclose(alone.low or 0, together[name].low or 0, rel_tol=1e-12)
        assert math.isclose(alone.high or 0, together[name].high or 0, rel_tol=1e-12)
    assert together["gaps"].n == int((figures["a"] > 0.5).sum())
    assert math.isclose(
        together["gaps"].value, float(figures["a"][figures["a"] > 0.5].mean()), rel_tol=1e-6
    )
    assert together["none"].n == 0
    assert math.isnan(together["none"].value)


def test_one_picture_has_no_interval() -> None:
    (row,) = Rows.of(SPEC, "unit", 0).intervals({"a": torch.tensor([0.25])})
    assert (row.value, row.low, row.high, row.n) == (0.25, None, None, 1)
