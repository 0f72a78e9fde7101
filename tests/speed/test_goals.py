"""Goals, tables and the plot are functions of rows."""

from __future__ import annotations

import pytest

from benchmarks.results import Row
from benchmarks.speed.document import render
from benchmarks.speed.goals import FAST, GOALS, Goal, reached
from benchmarks.speed.markup import escape, short
from benchmarks.speed.plot import shown_batch, speed_figure
from benchmarks.speed.table import batch_exponents, count, scaling_lines
from biasmatters.reporting.style import png
from tests.speed.rows import scaling_row, speed_row

VGG = Goal("ratio", ("softmax_neg_abs",), "vgg11", 15)
MEMORY = Goal("memory_ratio", FAST, "vgg11", 3)
PIXELS = Goal("exponent", ("uniform",), "side", 0.1)


def pixel_rows(exponent: float) -> list[Row]:
    sizes = (100, 400, 1600)
    return [scaling_row("side", n, "uniform", seconds=1e-3 * n**exponent) for n in sizes]


@pytest.mark.parametrize(("ratio", "verdict"), [(15.0, "met"), (15.1, "NOT met")])
def test_a_time(ratio: float, verdict: str) -> None:
    rows = [
        speed_row("vgg11", 1, "softmax_neg_abs", ratio=1),
        speed_row("vgg11", 2, "softmax_neg_abs", ratio=ratio),
    ]
    assert reached(VGG, rows, []).verdict == verdict


def test_what_was_not_measured_or_could_not_be_is_not_met() -> None:
    assert reached(VGG, [], []).verdict == "not measured"
    over = speed_row("vgg11", 2, "softmax_neg_abs", failure="over budget: predicted 80 s")
    assert (reached(VGG, [over], []).got, reached(VGG, [over], []).verdict) == (
        "over budget",
        "NOT met",
    )


def test_the_worst_memory_counts() -> None:
    figures = dict(zip(FAST, (2, 2.5, 3.2, 1), strict=True))
    rows = [speed_row("vgg11", 2, m, memory_ratio=v) for m, v in figures.items()]
    found = reached(MEMORY, rows, [])
    assert (found.got, found.verdict) == ("3.2 (BBp softmax_neg_abs, T = 1)", "NOT met")
    assert reached(MEMORY, rows[:2], []).verdict == "not measured"


@pytest.mark.parametrize(
    ("exponent", "verdict"), [(1.05, "met"), (0.8, "NOT met"), (1.2, "NOT met")]
)
def test_an_exponent(exponent: float, verdict: str) -> None:
    assert reached(PIXELS, [], pixel_rows(exponent)).verdict == verdict
    assert reached(PIXELS, [], []).verdict == "not measured"


def test_a_forward_pass_has_exponents_of_its_own() -> None:
    rows = [
        scaling_row("batch", n, "softmax_neg_abs", seconds=n, forward_seconds=n**0.5)
        for n in (1, 4, 16)
    ]
    _, _, forward, rule, *_ = scaling_lines(rows)
    assert forward.startswith("| a forward pass | 0.50 ± 0.00 |")
    assert "| 1.00 ± 0.00 |" in rule


def test_exponents_of_batch_by_network() -> None:
    rows = [
        speed_row(model, n, rule, seconds=n**0.75, forward_seconds=n)
        for model, sizes in (("vgg11", (1, 2, 8)), ("resnet18", (1, 2)))
        for n in sizes
        for rule in ("softmax_neg_abs", "uniform")
    ]
    rows.append(speed_row("vgg11", 32, "uniform", failure="over budget"))
    head, _, forward, *rules = batch_exponents(rows)
    assert head == "| exponent of batch | vgg11 (to 8) |"
    assert forward == "| a forward pass | 1.00 ± 0.00 |"
    assert rules[3] == "| BBp uniform | 0.75 ± 0.00 |"
    assert batch_exponents(rows[6:]) == []


def test_the_goals_of_the_issue() -> None:
    asked = {(g.column, g.methods, g.where): g.most for g in GOALS}
    assert len(asked) == len(GOALS) == 21
    assert asked["ratio", ("softmax_neg_abs",), "vgg11"] == 15
    assert asked["ratio", ("softmax_neg_abs",), "efficientnet_lite0"] == 25
    assert asked["ratio", ("softmax_neg_abs_cold",), "resnet50"] == 60
    results = [reached(goal, [], pixel_rows(1.0)) for goal in GOALS]
    assert count(results) == "1 of 21 goals met, 20 not measured."


def document_rows() -> list[Row]:
    return [
        speed_row("vgg11", 2, "gradient", ratio=2, memory_ratio=1, memory_mib=100),
        speed_row(
            "vgg11", 2, "softmax_neg_abs", ratio=17.25, floor=8, fraction=0.46, memory_mib=20
        ),
        speed_row("vgg11", 2, "integrated_gradients", failure="over budget: predicted 99 s"),
        speed_row("vgg11", 2, "captum_deeplift", failure="KeyError: a|b\\c *d*\ne"),
        speed_row("vgg11", 8, "gradient", ratio=1234),
    ]  # fmt: skip


def test_the_document() -> None:
    text = render(document_rows(), pixel_rows(1.0), [("date", "today")], "speed.png")
    assert "- date: today" in text
    assert "![Time of each method in forward passes, by model](speed.png)" in text
    assert "| BBp softmax\\_neg\\_abs, T = 1: vgg11, batch 2 | at most 15 forward passes" in text
    assert "| 17.2 | **NOT met** |" in text
    assert "| Captum IG-50 | over budget |" in text
    assert "| Captum DeepLift | raises (KeyError) |" in text
    assert "Captum DeepLift: KeyError: a\\|b\\\\c \\*d\\* e" in text
    assert "| BBp softmax\\_neg\\_abs, T = 1 | 8 (46 %) |" in text
    assert "| forward + backward | 1234 |" in text
    assert "pixels (100 to 1600)" in text
    assert "| BBp uniform | - | 1.00 ± 0.00 | - | - |" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in tables:
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1, block


def test_the_plot() -> None:
    rows = document_rows()
    assert shown_batch(rows) == "2"
    assert shown_batch(rows[4:]) == "8"
    assert shown_batch(rows[2:3]) is None
    figure = speed_figure(rows, "2", "threads: 1")
    written = {text.get_text() for text in figure.axes[0].texts}
    assert written == {"2", "17.2", "Captum IG-50: over budget", "Captum DeepLift: KeyError"}
    assert png(figure).startswith(b"\x89PNG")


def test_marks() -> None:
    assert escape("a|b_<c>") == "a\\|b\\_&lt;c>"
    assert [short(s) for s in ("0.01234", "9.996", "99.96", "12345")] == [
        "0.0123", "10", "100", "12345",
    ]  # fmt: skip
