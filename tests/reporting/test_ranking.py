"""Ranks and their ranges from comparison rows, as a table and as a figure."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from biasmatters.reporting.rank_figure import rank_figure
from biasmatters.reporting.ranking import (
    Ranking,
    rank_groups,
    rank_tables,
    ranking,
)
from biasmatters.reporting.style import png
from biasmatters.types import Better, Result, Versus

VALUES = {"gradient": 0.1, "lime": 0.2, "rise": 0.21, "random": 0.5}
# Differences that are no proof of anything.
CHANCE = {("lime", "rise")}


def result(
    method: str, value: float, metric: str = "deletion_auc", better: Better = "low"
) -> Result:
    return Result(
        "e", "shapes", "unit", "cnn", True, method, "", metric, 0, value, value - 0.01,
        value + 0.02, 100, None, "score-1", better,
    )  # fmt: skip


def duel(first: str, second: str, gap: float, p: float, metric: str = "deletion_auc") -> Versus:
    return Versus(
        "e", "shapes", "unit", "cnn", metric, first, "", second, "", gap, gap - 0.1, gap + 0.1, p,
        100, "compare-1",
    )  # fmt: skip


def rows(
    values: dict[str, float],
    chance: Iterable[tuple[str, str]] = (),
    metric: str = "deletion_auc",
    better: Better = "low",
) -> tuple[list[Result], list[Versus]]:
    results = [result(m, v, metric, better) for m, v in values.items()]
    versus = [
        duel(a, b, values[a] - values[b], 0.6 if (a, b) in set(chance) else 0.001, metric)
        for a, b in combinations(values, 2)
    ]
    return results, versus


def ranges(found: Ranking) -> dict[str, tuple[int, int, int]]:
    return {s.method[0]: (s.rank, s.low, s.high) for s in found.standings}


def test_ranges_by_hand() -> None:
    found = ranking(*rows(VALUES, CHANCE))
    expected = {"gradient": (1, 1, 1), "lime": (2, 2, 3), "rise": (3, 2, 3), "random": (4, 4, 4)}
    assert ranges(found) == expected
    assert list(ranges(found)) == list(expected)
    assert [s.span for s in found.standings] == ["rank 1", "rank 2–3", "rank 2–3", "rank 4"]
    assert len(found.wins) == 5
    turned = ranges(ranking(*rows(VALUES, CHANCE, better="high")))
    assert turned == {
        "random": (1, 1, 1),
        "rise": (2, 2, 3),
        "lime": (3, 2, 3),
        "gradient": (4, 4, 4),
    }


def test_the_order_within_a_pair_does_not_matter() -> None:
    results, versus = rows(VALUES, CHANCE)
    swapped = [
        replace(
            v, first_method=v.second_method, second_method=v.first_method, difference=-v.difference
        )
        for v in versus
    ]
    assert ranking(results, swapped) == ranking(results, versus)


def test_the_border_of_significance() -> None:
    results = [result("gradient", 0.1), result("lime", 0.2)]
    for p, high in ((0.05, 1), (0.0501, 2)):
        assert ranges(ranking(results, [duel("gradient", "lime", -0.1, p)]))["gradient"][2] == high
    nothing = [duel("gradient", "lime", 0.0, 0.001)]
    assert not ranking(results, nothing).wins


def test_all_seeds_have_to_agree() -> None:
    results = [result("gradient", 0.1), result("lime", 0.2)]
    one = duel("gradient", "lime", -0.1, 0.001)
    assert len(ranking(results, [one, replace(one, stage="other")]).wins) == 1
    assert not ranking(results, [one, replace(one, p_value=0.2)]).wins
    assert not ranking(results, [one, replace(one, difference=0.1)]).wins


def test_equal_values_share_a_rank_and_missing_pairs_tell_nothing() -> None:
    results = [result("a", 0.1), result("b", 0.1), result("c", 0.3)]
    found = ranking(results, [duel("a", "c", -0.2, 0.001), duel("a", "gone", -1, 0.001)])
    assert ranges(found) == {"a": (1, 1, 2), "b": (1, 1, 3), "c": (3, 2, 3)}


def test_table() -> None:
    low = rows(VALUES, CHANCE)
    values = {"rise": 12.0, "lime": 11.0, "random": 3.0}
    high = rows(values, [("rise", "lime")], "insertion_absolute_auc", "high")
    noise = [
        replace(low[0][0], metric="seconds_per_image", better=""),
        replace(low[0][0], metric="unasked", better="low"),
        replace(low[0][0], method="undefined", value=float("nan")),
        replace(low[0][0], metric="deletion", at=0.5),
        replace(low[0][0], method="", metric="accuracy_all", better="high"),
    ]
    tables = rank_tables([*low[0], *high[0], *noise], [*low[1], *high[1]])
    assert len(tables) == 1
    table = tables[0]
    assert "Shapes, cnn, inputs in [0, 1] (n = 100 images)" in table.caption
    heads = [c.label for c in table.columns]
    assert heads == ["method", "mean rank", "Deletion ↓", "Insertion, absolute order ↑"]
    cells = {r.cells[0].text: r.cells[1:] for r in table.rows}
    assert list(cells) == ["Gradient", "LIME", "RISE", "Random"]
    assert [c[0].text for c in cells.values()] == ["1.0", "2.0", "2.0", "3.5"]
    assert (cells["Gradient"][1].text, cells["Gradient"][1].note) == (
        "0.100",
        "rank 1 [0.090, 0.120]",
    )
    assert cells["Gradient"][1].strong
    assert (cells["Gradient"][2].text, cells["Gradient"][2].note) == ("–", "not run")
    assert cells["RISE"][1].note == "rank 2–3 [0.200, 0.230]"
    assert (cells["RISE"][2].text, cells["RISE"][2].note) == ("12.0", "rank 1–2 [12.0, 12.0]")
    assert sum(c.strong for row in cells.values() for c in row) == 1


def test_groups_are_kept_apart_and_nothing_compared_gives_nothing() -> None:
    results, versus = rows(VALUES)
    other = [replace(r, normalization="standard") for r in results]
    groups = rank_groups(
        [*results, *other], [*versus, replace(versus[0], normalization="standard")]
    )
    assert [g.normalization for g in groups] == ["unit", "standard"]
    assert [len(g.rankings[0].wins) for g in groups] == [6, 1]
    assert rank_tables(results, []) == []


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.000"), (0.034, "0.0340"), (4321.0, "4321"), (2e-6, "2.0×10⁻⁶")]
)
def test_values_show_three_figures(value: float, text: str) -> None:
    results, versus = [result("a", value), result("b", 0.0)], [duel("a", "b", value, 0.5)]
    cells = {r.cells[0].text: r.cells[2].text for r in rank_tables(results, versus)[0].rows}
    assert cells["a"] == text


def panels(figure: Figure) -> tuple[Axes, Axes]:
    matrix, bars = figure.axes
    return matrix, bars


def test_figure_shows_the_wins_and_the_ranges() -> None:
    matrix, bars = panels(rank_figure(ranking(*rows(VALUES, CHANCE))))
    mesh = next(c for c in matrix.collections if isinstance(c, QuadMesh))
    # 3 itself, 2 better, 1 not told apart, 0 worse; best first in rows and columns.
    assert np.reshape(np.asarray(mesh.get_array()), (4, 4)).tolist() == [
        [3, 2, 2, 2],
        [0, 3, 1, 2],
        [0, 1, 3, 2],
        [0, 0, 0, 3],
    ]
    assert matrix.get_ylim() == bars.get_ylim() == (4, 0)
    spans = [line.get_xdata() for line in bars.lines if line.get_marker() == "None"]
    assert [np.asarray(s).tolist() for s in spans] == [[1, 1], [2, 3], [2, 3], [4, 4]]
    names = [t.get_text() for t in matrix.get_yticklabels()]
    assert names == ["Gradient  1", "LIME  2", "RISE  3", "Random  4"]
    assert bars.get_yticklabels()[0].get_text() == "0.100  [0.090, 0.120]"


@pytest.mark.parametrize("count", [2, 40])
def test_figure_is_legible_and_the_same_twice(count: int) -> None:
    long = "input_x_gradient_plus_bias"
    values = {f"{long}_{i}": 0.1 + 0.01 * i for i in range(count)}
    found = ranking(*rows(values))
    figure = rank_figure(found)
    first = png(figure)
    assert count > 2 or png(rank_figure(found)) == first
    width, height = figure.get_size_inches()
    assert width <= 10.4
    assert height <= 9
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    matrix, bars = panels(figure)
    for axes in (matrix, bars):
        boxes = [t.get_window_extent(renderer) for t in axes.get_yticklabels()]
        tops = [box.y0 for box in boxes]
        assert all(
            high - low >= box.height * 0.8
            for low, high, box in zip(tops[1:], tops, boxes, strict=False)
        )
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= figure.bbox.width
    numbers = [t.get_window_extent(renderer) for t in matrix.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(numbers))
