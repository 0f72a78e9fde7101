"""Tables are functions of the result rows."""

# ruff: noqa: RUF001

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from biasmatters.paper import load_published
from biasmatters.reporting import ReportContent, ReportError
from biasmatters.reporting.labels import duration, interval, method_name, number, scientific
from biasmatters.reporting.scores import auc_tables, cost_tables, layer_tables, separated_best
from biasmatters.reporting.table1 import entries, table1
from biasmatters.reporting.tables import Pooled, pooled

BOOK = load_published()


def test_table_1_has_the_four_figures_the_gap_and_the_verdict(content: ReportContent) -> None:
    rows = table1(content.results, BOOK).rows
    ours = next(r for r in rows if r.cells[0].text.startswith("Ours, inputs in [0, 1]"))
    assert [c.text for c in ours.cells[1:6]] == ["90.1", "91.4", "72.8", "82.7", "−1.3"]
    assert ours.cells[2].note == "[90.8, 92.0]"
    assert ours.cells[6].finding == "differs"
    lines = {d.label: (d.text, d.finding) for d in ours.details}
    assert lines["only b"] == ("82.7 − 24.6 = +58.1; |+58.1| > 5", "differs")
    assert lines["only w·x"][1] == "reproduced"
    assert lines["gap"] == ("−1.3 − (−0.6) = −0.7; |−0.7| ≤ 1", "reproduced")
    assert lines["all > w·x > b"] == ("91.4 > 72.8, 72.8 ≤ 82.7", "differs")


def test_the_paper_stands_beside_with_its_provenance(content: ReportContent) -> None:
    reference = next(r for r in table1(content.results, BOOK).rows if r.kind == "reference")
    texts = [c.text for c in reference.cells]
    assert texts == ["Paper, Table 1", "94.1", "94.7", "76.1", "24.6", "−0.6", ""]
    assert reference.cells[-1].provenance == "read"


def test_the_closest_origin_is_marked_by_arithmetic(content: ReportContent) -> None:
    ours = [e for e in entries(content.results, BOOK) if e.data == "fashion_mnist"]
    distances = {e.normalization: e.distance for e in ours}
    expected = (abs(90.6 - 94.1) + abs(91.7 - 94.7) + abs(74.1 - 76.1) + abs(26.6 - 24.6)) / 4
    assert distances["symmetric"] == pytest.approx(expected)
    marked = [r for r in table1(content.results, BOOK).rows if "closest" in r.cells[0].note]
    assert [r.cells[0].text for r in marked] == ["Ours, inputs in [−1, 1]"]
    assert [e.verdict.finding for e in ours] == ["differs", "order agrees", "order agrees"]


def test_data_sets_that_were_not_run_say_why(content: ReportContent) -> None:
    missing = [("cifar10", "no mirror answered")]
    rows = table1(content.results, BOOK, missing).rows
    texts = {r.cells[0].note: r.cells[-1] for r in rows if r.cells[0].text == "Ours"}
    assert texts["no mirror answered"].text == "not run: data not available"
    assert texts[""].finding == "not run at this scale"
    mnist = [r for r in rows if r.kind == "" and r.cells[-1].finding == "no published number"]
    assert len(mnist) == 1


def test_a_network_that_reaches_the_paper_is_reproduced(demo: ModuleType) -> None:
    rows = [
        demo.row("accuracy_all", 0.941, bias=False),
        demo.row("accuracy_all", 0.947),
        demo.row("accuracy_weight", 0.76),
        demo.row("accuracy_bias", 0.25),
    ]
    assert entries(rows, BOOK)[0].verdict.finding == "reproduced"
    better = [rows[0], replace(rows[1], value=0.99), *rows[2:]]
    assert entries(better, BOOK)[0].verdict.finding == "better"
    partial = entries(rows[1:2], BOOK)[0]
    assert partial.figures["only b"] is None
    assert partial.verdict.finding == "reproduced"
    assert "3 not compared" in partial.verdict.arithmetic


def test_seeds_are_averaged(demo: ModuleType) -> None:
    rows = [demo.row("accuracy_all", v, seed=s, half=0.01) for s, v in enumerate((0.9, 0.92))]
    found = pooled(rows)
    assert found is not None
    assert found.seeds == 2
    assert [found.low, found.value, found.high] == pytest.approx([0.89, 0.91, 0.93])
    assert pooled([]) is None


def test_areas_are_ranked(content: ReportContent) -> None:
    table = auc_tables(content.results, "signed")[0]
    assert [c.group for c in table.columns][1:3] == ["inputs in [0, 1]"] * 2
    first = {r.cells[0].text: r.cells[1] for r in table.rows}
    assert first["Gradient"].note.startswith("#1 [")
    assert not any(c.strong for r in table.rows for c in r.cells)


def test_best_is_marked_only_where_the_interval_separates() -> None:
    def column(*figures: tuple[float, float | None]) -> dict[tuple[str, str], Pooled]:
        return {
            (str(i), ""): Pooled(
                v, None if h is None else v - h, None if h is None else v + h, 9, 1
            )
            for i, (v, h) in enumerate(figures)
        }

    assert separated_best(column((0.1, 0.01), (0.2, 0.01)), 1) == ("0", "")
    assert separated_best(column((0.1, 0.01), (0.2, 0.01)), -1) == ("1", "")
    assert separated_best(column((0.1, 0.06), (0.2, 0.06)), 1) is None
    assert separated_best(column((0.1, 0.01), (0.2, 0.01), (0.3, 0.25)), 1) is None
    assert separated_best(column((0.1, None), (0.2, 0.01)), 1) is None
    assert separated_best(column((0.1, 0.01)), 1) is None


def test_cost_marks_what_is_complete(demo: ModuleType) -> None:
    rows = [
        demo.row("completeness_residual", 2e-6, method=("bbp", "uniform")),
        demo.row("completeness_residual", 3e-3, method=("bbp", "softmax_abs")),
        demo.row("forward_passes", 2.5, method=("gradient", "")),
        demo.row("fallback_share", 0.125, method=("bbp", "uniform")),
        demo.row("memory", 3 * 2**20, method=("gradient", "")),
    ]
    cells = [[c.text for c in r.cells] for r in cost_tables(rows)[0].rows]
    assert cells[0] == ["BBp, uniform", "2.0×10⁻⁶ ✓", "–", "–", "–", "12.50 %", "–"]
    assert cells[1][1] == "3.0×10⁻³ ✗"
    assert cells[2] == ["Gradient", "–", "2.5×", "–", "3 MiB", "–", "–"]


def test_layers(content: ReportContent) -> None:
    table = layer_tables(content.results)[0]
    assert [r.cells[0].text for r in table.rows] == ["conv1", "conv2", "dense1", "dense2"]
    assert table.columns[1].group == "BBp"


def test_accuracies_must_be_fractions(demo: ModuleType) -> None:
    with pytest.raises(ReportError, match="fractions of 1"):
        ReportContent("t", [demo.row("accuracy_all", 91.4)])


def test_numbers_read_well() -> None:
    assert number(-0.04, 1) == "0.0"
    assert number(-1.26, 1) == "−1.3"
    assert interval(None, 1.0, 1) == ""
    assert [scientific(v) for v in (0, 9.96e-7, -3.2e4)] == ["0", "1.0×10⁻⁶", "−3.2×10⁴"]
    times = ["12.3 µs", "4.5 ms", "5.0 s", "2 min 05 s"]
    assert [duration(v) for v in (1.23e-5, 4.5e-3, 5, 125)] == times
    assert method_name("my_method", "my_rule") == "my method, my rule"
