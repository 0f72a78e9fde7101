"""Table 1 of the paper: accuracy with all, w.x or b, ours beside the published figures."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from biasmatters.paper import (
    Published,
    PublishedNumber,
    Verdict,
    combine,
    judge,
    judge_claim,
    load_claims,
)
from biasmatters.reporting.labels import data_name, input_name, interval, number
from biasmatters.reporting.tables import (
    Cell,
    Column,
    Detail,
    Pooled,
    Row,
    Table,
    distinct,
    pooled,
)
from biasmatters.types import Result

FIGURES = (
    ("trained without bias", "accuracy_all", False),
    ("all", "accuracy_all", True),
    ("only w·x", "accuracy_weight", True),
    ("only b", "accuracy_bias", True),
)
GAP = "gap"
NOTES = (
    (
        "Accuracy in % of test images, with its 95 % bootstrap interval where one was made; seeds "
        "are averaged and their intervals joined. Gap: trained without bias minus all, in points."
    ),
    (
        "all: arg-max of f(x). only w·x: arg-max of w_k·x with w_k the gradient of logit k. only "
        "b: arg-max of f_k(x) − w_k·x. The split depends on the origin of the inputs, which the "
        "paper does not state (as far as known), so each one that was run has its own row."
    ),
    (
        "A figure is reproduced when it lies within the tolerance of the published one, better "
        "when it lies beyond it on the better side (accuracies of whole networks only), else it "
        "differs; a row that differs while the published order holds reads: order agrees."
    ),
)


@dataclass(frozen=True)
class Entry:
    """One of our rows: a data set, a network and an origin of the inputs.

    Attributes:
        data: Data set.
        model: Network.
        normalization: Origin of the inputs.
        figures: Ours by label, in %, None where not run.
        verdicts: By label.
        orders: Each claim in words with its verdict.
        verdict: The joint one.
        distance: Mean absolute distance to the published figures, in points, if any.
    """

    data: str
    model: str
    normalization: str
    figures: Mapping[str, Pooled | None]
    verdicts: Mapping[str, Verdict]
    orders: tuple[tuple[str, Verdict], ...]
    verdict: Verdict
    distance: float | None


def entries(results: Sequence[Result], book: Published) -> list[Entry]:
    """Our rows of Table 1, in the order of the results."""
    rows = [r for r in results if r.metric in {m for _, m, _ in FIGURES}]
    keys = distinct(rows, lambda r: (r.data, r.model, r.normalization))
    return [_entry(rows, data, model, norm, book) for data, model, norm in keys]


def table1(
    results: Sequence[Result], book: Published, missing: Sequence[tuple[str, str]] = ()
) -> Table:
    """Build the table.

    Args:
        results: All rows; accuracies are fractions of 1.
        book: The published numbers.
        missing: ``(data, why)`` of data sets that could not be had.

    Returns:
        One group per data set: ours, published but not run, and not available.
    """
    ours, absent = entries(results, book), dict(missing)
    published = [d for d in dict.fromkeys(n.data for n in book.numbers.values()) if _row(book, d)]
    order = list(dict.fromkeys([*(e.data for e in ours), *absent, *published]))
    rows: list[Row] = []
    for data in order:
        mine = [e for e in ours if e.data == data]
        rows.append(_heading(data, mine))
        rows.append(_reference(data, book))
        rows.extend(_ours(e, mine, book) for e in mine)
        if data in absent:
            rows.append(_nothing(absent[data], Cell("not run: data not available")))
        elif not mine:
            rows.append(_nothing("", Cell(finding="not run at this scale")))
    labels = ("", *(label for label, _, _ in FIGURES), GAP, "verdict")
    columns = tuple(Column(text, numeric=0 < i < 6) for i, text in enumerate(labels))
    notes = (*NOTES, *_tolerances(book, published))
    return Table("Accuracy with all of the network, only w·x, only b", columns, tuple(rows), notes)


def _tolerances(book: Published, published: Sequence[str]) -> tuple[str, ...]:
    """Each tolerance with the reason for it, once."""
    why: dict[tuple[float, str], list[str]] = {}
    for label, entry in ((k, n) for d in published for k, n in _row(book, d).items()):
        names = why.setdefault((entry.tolerance, entry.tolerance_why), [])
        if label not in names:
            names.append(label)
    return tuple(f"Tolerance ±{t:g} ({', '.join(names)}): {r}." for (t, r), names in why.items())


def _row(book: Published, data: str) -> dict[str, PublishedNumber]:
    """The published figures of one data set, by label."""
    found = {label: book.find(metric, data, bias=bias) for label, metric, bias in FIGURES}
    found[GAP] = book.find("accuracy_gap", data)
    return {label: n for label, n in found.items() if n is not None}


def _entry(rows: Sequence[Result], data: str, model: str, norm: str, book: Published) -> Entry:
    here = [r for r in rows if (r.data, r.model, r.normalization) == (data, model, norm)]
    figures = {
        label: _percent([r for r in here if r.metric == metric and r.bias == bias])
        for label, metric, bias in FIGURES
    }
    without, whole = figures["trained without bias"], figures["all"]
    values = {label: f.value for label, f in figures.items() if f is not None}
    if without is not None and whole is not None:
        values[GAP] = without.value - whole.value
        n, seeds = min(without.n, whole.n), min(without.seeds, whole.seeds)
        figures[GAP] = Pooled(values[GAP], None, None, n, seeds)
    paper = _row(book, data)
    verdicts = {x: judge(values.get(x), paper.get(x)) for x in (*(f[0] for f in FIGURES), GAP)}
    by_id = {paper[label].id: value for label, value in values.items() if label in paper}
    told = load_claims(f"table1.{data}.", book)
    orders = tuple((claim.text, judge_claim(claim, by_id)) for claim in told)
    split = orders[0][1] if orders else None
    gaps = [abs(values[x] - paper[x].value) for x, *_ in FIGURES if x in values and x in paper]
    distance = sum(gaps) / len(gaps) if gaps else None
    joint = combine([verdicts[label] for label, _, _ in FIGURES], split)
    return Entry(data, model, norm, figures, verdicts, orders, joint, distance)


def _percent(rows: Sequence[Result]) -> Pooled | None:
    found = pooled(rows)
    if found is None:
        return None
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return Pooled(100 * found.value, low, high, found.n, found.seeds)


def _heading(data: str, mine: Sequence[Entry]) -> Row:
    models = ", ".join(dict.fromkeys(e.model for e in mine))
    counts = {(f.n, f.seeds) for e in mine for f in e.figures.values() if f is not None}
    note = models
    if counts:
        n, seeds = min(counts)
        note += f" · n = {n:,} test images · {seeds} seed{'s' if seeds > 1 else ''}"
    return Row((Cell(data_name(data), note, strong=True),), kind="group")


def _reference(data: str, book: Published) -> Row:
    paper = _row(book, data)
    if not paper:
        empty = tuple(Cell("–") for _ in range(5))
        return Row((Cell("Paper, Table 1"), *empty, Cell("not in Table 1")), kind="reference")
    cells = []
    for label in (*(f[0] for f in FIGURES), GAP):
        found = paper.get(label)
        cells.append(Cell("–") if found is None else Cell(number(found.value, 1)))
    how = next(iter(paper.values())).provenance
    return Row((Cell("Paper, Table 1"), *cells, Cell(provenance=how)), kind="reference")


def _ours(entry: Entry, mine: Sequence[Entry], book: Published) -> Row:
    cells = []
    for label in (*(f[0] for f in FIGURES), GAP):
        found = entry.figures.get(label)
        cells.append(
            Cell("–", "not run")
            if found is None
            else Cell(number(found.value, 1), interval(found.low, found.high, 1))
        )
    name = f"Ours, {input_name(entry.normalization)}"
    if len({e.model for e in mine}) > 1:
        name += f", {entry.model}"
    rivals = [e.distance for e in mine if e.distance is not None]
    closest = len(rivals) > 1 and entry.distance == min(rivals)
    note = "" if entry.distance is None else f"mean |Δ| {number(entry.distance, 1)} points"
    note += " · closest to the paper" if closest else ""
    last = Cell(finding=entry.verdict.finding)
    return Row((Cell(name, note, strong=closest), *cells, last), details=_details(entry, book))


def _details(entry: Entry, book: Published) -> tuple[Detail, ...]:
    """The arithmetic of every figure with a published one, then of the order."""
    paper = _row(book, entry.data)
    lines = [
        Detail(label, verdict.arithmetic, verdict.finding)
        for label, verdict in entry.verdicts.items()
        if label in paper
    ]
    lines += [Detail(text, order.arithmetic, order.finding) for text, order in entry.orders]
    if lines and entry.verdict.arithmetic:
        tally = entry.verdict.arithmetic.split(";")[0]
        lines.append(Detail("whole row", tally, entry.verdict.finding))
    return tuple(lines)


def _nothing(why: str, last: Cell) -> Row:
    return Row((Cell("Ours", why), *(Cell("–") for _ in range(5)), last))
