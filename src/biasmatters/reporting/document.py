"""The report as a tree of sections; HTML and Markdown lay out the same tree."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from biasmatters.paper import Source
from biasmatters.reporting.content import ReportContent
from biasmatters.reporting.figures import area_figure, curve_figure, methods_of
from biasmatters.reporting.labels import (
    data_name,
    duration,
    input_name,
    metric_name,
    network_name,
    number,
    scientific,
)
from biasmatters.reporting.orders import METRICS, SIGNED, by_order
from biasmatters.reporting.panels import other_curves, panel_figure
from biasmatters.reporting.probe import probe_tables
from biasmatters.reporting.scores import COMPLETE, EXACT, auc_tables, cost_tables, layer_tables
from biasmatters.reporting.section import Picture, Section
from biasmatters.reporting.sections import (
    convergence_section,
    randomization_section,
    ranking_section,
)
from biasmatters.reporting.sheet import PERCENTILE, sheet_figure
from biasmatters.reporting.style import png
from biasmatters.reporting.table1 import Entry, entries, table1
from biasmatters.reporting.tables import Cell, Column, Row, Table, by_network
from biasmatters.types import Result


@dataclass(frozen=True)
class Card:
    """One figure of the summary."""

    value: str
    label: str
    note: str


@dataclass(frozen=True)
class Document:
    """A whole report, ready to be laid out."""

    title: str
    subtitle: str
    findings: tuple[tuple[Entry, str], ...]
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    sources: tuple[Source, ...]


def build(content: ReportContent) -> Document:
    """Arrange the content in chapters; those with nothing to show are left out."""
    chapters = (
        _table1(content),
        _faithfulness(content.results),
        _panels(content.results),
        ranking_section(content.results, content.versus),
        randomization_section(content.results),
        convergence_section(content.results),
        _tables("network", "What the bias does", probe_tables(content.results), PROBE),
        _tables("cost", "Completeness and cost", cost_tables(content.results), COST),
        _sheets(content),
        _tables("layers", "How evenly each rule spreads", layer_tables(content.results), LAYERS),
        _missing(content),
        _assumptions(content),
        _environment(content),
    )
    sections = tuple(s for s in chapters if s is not None)
    ours = entries(content.results, content.published)
    compared = tuple((e, _finding(e)) for e in _headline(ours))
    cited = [content.published.sources["wang2019"], content.published.sources["petsiuk2018"]]
    return Document(
        content.title, content.subtitle, compared, _cards(content), sections, tuple(cited)
    )


PROBE = (
    "Measured on the network alone, on all test images: what is left of its decisions when the "
    "bias is split off, averaged, or taken out layer by layer."
)
COST = (
    "A map is complete when it adds up to what it explains. The bias is found as a sum over the "
    "recorded operations and compared with f(x) − w·x, so the two sides share no term."
)
LAYERS = (
    "The softmax rules have a temperature in units of the activations; the entropy of alpha's rows "
    "shows how flat that makes them."
)


def _headline(ours: Sequence[Entry]) -> list[Entry]:
    """Per data set the origin that comes closest to the paper."""
    closest: dict[str, Entry] = {}
    for entry in ours:
        if entry.distance is None:
            continue
        rival = closest.get(entry.data)
        if rival is None or rival.distance is None or entry.distance < rival.distance:
            closest[entry.data] = entry
    return list(closest.values())


def _finding(entry: Entry) -> str:
    """One sentence on the closest origin, made of its numbers."""
    values = ", ".join(
        f"{number(f.value, 1)} {label}"
        for label, f in entry.figures.items()
        if f is not None and label != "gap"
    )
    return (
        f"{data_name(entry.data)}: with {input_name(entry.normalization)}, the closest of the "
        f"origins run (mean |Δ| {number(entry.distance or 0.0, 1)} points): {values} (%)."
    )


def _cards(content: ReportContent) -> tuple[Card, ...]:
    cards = []
    rows = [r for r in content.results if r.metric == "accuracy_all" and r.bias]
    if rows:
        best = max(rows, key=lambda r: r.value)
        where = f"{data_name(best.data)}, {input_name(best.normalization)}"
        cards.append(Card(f"{number(100 * best.value, 1)} %", "best test accuracy", where))
    exact = [
        r for r in content.results if r.metric == "completeness_residual" and r.method in EXACT
    ]
    residuals = [r.value for r in exact]
    if residuals:
        mark = "within" if max(residuals) <= COMPLETE else "above"
        note = f"{mark} the bound of {scientific(COMPLETE)}"
        cards.append(Card(scientific(max(residuals)), "largest completeness residual of BBp", note))
    scored = [r for r in content.results if r.metric in ("deletion_auc", "insertion_auc")]
    if scored:
        methods = len(methods_of(content.results, ("deletion_auc", "insertion_auc")))
        n = max(r.n for r in scored)
        cards.append(Card(f"{methods} methods", "scored", f"on up to {n:,} test images each"))
    if content.timings:
        total = sum(seconds for _, seconds, _ in content.timings)
        cached = sum(c for _, _, c in content.timings)
        note = f"{len(content.timings)} stages, {cached} from the cache"
        cards.append(Card(duration(total), "computing time", note))
    return tuple(cards)


def _table1(content: ReportContent) -> Section | None:
    measured = any(r.metric.startswith("accuracy") for r in content.results)
    if content.results and not content.missing and not measured:
        return None
    lead = (
        "A piecewise-linear network is affine at every input: f(x) = w·x + b. How much does it "
        "still know with only one of the two? Ours stand beside the published figures, with the "
        "arithmetic of every verdict below the row."
    )
    table = table1(content.results, content.published, content.missing)
    return Section("table-1", "Table 1: what the bias knows", lead, (table,))


def _faithfulness(results: Sequence[Result]) -> Section | None:
    pictures: list[Picture] = []
    tables: list[Table] = []
    for order, rows in by_order(results).items():
        methods = methods_of(rows, METRICS)
        tables += auc_tables(rows, order)
        for network, here in by_network(rows).items():
            where = f"{network_name(*network)}, {order} order"
            slug = "-".join(network) + ("" if order == SIGNED else f"-{order}")
            pictures += _faithfulness_pictures(here, methods, slug, where)
    if not tables and not pictures:
        return None
    lead = (
        "Deletion takes the most salient pixels away first, insertion puts them back into a "
        "blurred picture; a faithful map makes the predicted class fall, or rise, early. Signed "
        "order starts with what speaks most for the class, absolute order with the largest "
        "magnitude. Masked pictures are off the data: read the order of methods, not the level."
    )
    return Section("faithfulness", "Deletion and insertion", lead, tuple(tables), tuple(pictures))


def _faithfulness_pictures(
    rows: Sequence[Result], methods: Sequence[tuple[str, str]], slug: str, where: str
) -> list[Picture]:
    found = []
    if any(r.at is not None for r in rows):
        text = f"Deletion and insertion curves, {where}. Bands: 95 % bootstrap intervals."
        alt = f"Line charts of class probability against the share of pixels replaced; {where}."
        found.append(Picture(f"curves-{slug}", text, alt, png(curve_figure(rows, methods))))
    if any(r.metric.endswith("_auc") for r in rows):
        text = f"Areas under the curves with 95 % intervals, best on top, {where}."
        alt = f"Dot chart of the areas under deletion and insertion by method; {where}."
        found.append(Picture(f"areas-{slug}", text, alt, png(area_figure(rows, methods))))
    return found


def _panels(results: Sequence[Result]) -> Section | None:
    """All curves besides deletion and insertion."""
    pictures = []
    for network, here in by_network(results).items():
        metrics = other_curves(here)
        if not metrics:
            continue
        where = network_name(*network)
        names = ", ".join(map(metric_name, metrics))
        pictures.append(
            Picture(
                f"panels-{'-'.join(network)}",
                f"{names}; {where}. Bands: 95 % bootstrap intervals.",
                f"Line charts by method: {names}; {where}.",
                png(panel_figure(here, metrics)),
            )
        )
    if not pictures:
        return None
    lead = (
        "The same question asked in other ways: what stands in for a pixel that is taken away "
        "decides much of the answer, so no single curve is to be trusted. MoRF takes the most "
        "relevant pixels first, LeRF the least relevant."
    )
    return Section("curves", "Other curves", lead, pictures=tuple(pictures))


def _tables(anchor: str, title: str, tables: Sequence[Table], lead: str) -> Section | None:
    return Section(anchor, title, lead, tuple(tables)) if tables else None


def _sheets(content: ReportContent) -> Section | None:
    if not content.sheets:
        return None
    lead = (
        "Red speaks for the explained class, blue against it, white is zero. Every map has its own "
        f"symmetric scale ±s, the {PERCENTILE:g}th percentile of its magnitude, printed below it "
        "where there is room; on a sheet of many methods, a map that is positive throughout is "
        "shown above its smallest value."
    )
    pictures = []
    for index, sheet in enumerate(content.sheets, 1):
        names = ", ".join(sheet.maps)
        alt = f"Grid of {len(sheet.images)} pictures and their heat maps by: {names}."
        caption = f"{sheet.title}. {sheet.note}".strip()
        pictures.append(Picture(f"sheet-{index}", caption, alt, png(sheet_figure(sheet))))
    return Section("maps", "Heat maps", lead, pictures=tuple(pictures))


def _missing(content: ReportContent) -> Section | None:
    if not content.missing:
        return None
    rows = tuple(
        Row((Cell(data_name(data)), Cell("not run: data not available"), Cell(why)))
        for data, why in content.missing
    )
    columns = tuple(Column(t, numeric=False) for t in ("data", "state", "why"))
    return Section(
        "missing", "Not run", tables=(Table("Data that could not be had", columns, rows),)
    )


def _assumptions(content: ReportContent) -> Section | None:
    if not content.assumptions:
        return None
    lead = (
        "The paper's full text was not available. What had to be assumed, and where this project "
        "knowingly does something else, with how we know what the paper does: read (in a source "
        "that could be opened), recalled (from memory, unchecked), derived (algebra), measured "
        "(run by us), or unknown."
    )
    found = tuple(content.assumptions)
    return Section("assumptions", "Assumptions and deviations", lead, assumptions=found)


def _environment(content: ReportContent) -> Section | None:
    tables = []
    if content.environment:
        rows = tuple(Row((Cell(k), Cell(v))) for k, v in content.environment.items())
        columns = (Column("what", numeric=False), Column("value", numeric=False))
        tables.append(Table("Environment and seeds", columns, rows))
    if content.timings:
        lines = tuple(
            Row((Cell(stage), Cell(duration(seconds)), Cell("cached" if cached else "run")))
            for stage, seconds, cached in content.timings
        )
        labels = ("stage", "time", "state")
        heads = tuple(Column(t, numeric=t == "time") for t in labels)
        note = "Time is that of the run that made the result, also where it came from the cache."
        tables.append(Table("Stages", heads, lines, (note,)))
    return _tables("environment", "Environment and times", tables, "")
