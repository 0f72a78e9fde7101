"""Tables of scores: areas under deletion and insertion, completeness, cost, layers."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.reporting.labels import (
    RULES,
    data_name,
    duration,
    input_name,
    interval,
    method_name,
    number,
    scientific,
)
from biasmatters.reporting.tables import (
    Cell,
    Column,
    Pooled,
    Row,
    Table,
    by_network,
    distinct,
    pooled,
)
from biasmatters.types import Result

AREAS = {"deletion_auc": ("deletion ↓", 1), "insertion_auc": ("insertion ↑", -1)}
COMPLETE = 1e-4
# Methods whose maps have to reach their total but for round-off.
EXACT = {"bbp", "bias_backprop", "input_x_gradient_plus_bbp", "input_x_gradient_plus_bias"}
Method = tuple[str, str]


def auc_tables(results: Sequence[Result], order: str) -> list[Table]:
    """One table per data set and network for one order of pixels: methods by origins."""
    rows = [r for r in results if r.metric in AREAS]
    keys = distinct(rows, lambda r: (r.data, r.model))
    return [_auc([r for r in rows if (r.data, r.model) == key], *key, order) for key in keys]


def _auc(rows: Sequence[Result], data: str, model: str, order: str) -> Table:
    methods = distinct(rows, lambda r: (r.method, r.rule))
    norms = distinct(rows, lambda r: r.normalization)
    slots = [(norm, metric) for norm in norms for metric in AREAS]
    columns: dict[tuple[str, str], dict[Method, Pooled]] = {}
    for norm, metric in slots:
        here = [r for r in rows if (r.normalization, r.metric) == (norm, metric)]
        found = {m: pooled([r for r in here if (r.method, r.rule) == m]) for m in methods}
        columns[norm, metric] = {m: f for m, f in found.items() if f is not None}
    ranks = {slot: ranked(columns[slot], AREAS[slot[1]][1]) for slot in slots}
    place = {m: _mean_rank(m, [ranks[s] for s in slots]) for m in methods}
    best = {slot: separated_best(columns[slot], AREAS[slot[1]][1]) for slot in slots}
    body = tuple(
        Row(
            (
                Cell(method_name(*m)),
                *(_area(columns[s].get(m), ranks[s].get(m), best[s] == m) for s in slots),
            )
        )
        for m in sorted(methods, key=lambda m: place[m])
    )
    heads = [Column(AREAS[metric][0], input_name(norm)) for norm, metric in slots]
    n = min(f.n for column in columns.values() for f in column.values())
    return Table(
        f"Area under deletion and insertion, {data_name(data)}, {model}, {order} order "
        f"(n = {n:,} images)",
        (Column("method", numeric=False), *heads),
        body,
        (
            (
                "Sorted by mean rank. ↓ low is better, ↑ high is better; #k is the rank in its "
                "column; 95 % bootstrap intervals over images."
            ),
            (
                "A best value is set in bold only where its interval does not overlap that of any "
                "other method; otherwise the column has no winner."
            ),
        ),
    )


def ranked(column: dict[Method, Pooled], sign: int) -> dict[Method, int]:
    """Rank from 1; ``sign`` is 1 where low is better, -1 where high is."""
    order = sorted(column, key=lambda m: sign * column[m].value)
    return {m: i + 1 for i, m in enumerate(order)}


def separated_best(column: dict[Method, Pooled], sign: int) -> Method | None:
    """The best method if its interval overlaps no other, else None."""
    if len(column) < 2:
        return None
    best = min(column, key=lambda m: sign * column[m].value)
    ends = {m: (f.low, f.high) if sign > 0 else (f.high, f.low) for m, f in column.items()}
    far = ends[best][1]
    near = [ends[m][0] for m in column if m != best]
    if far is None or any(end is None or sign * end <= sign * far for end in near):
        return None
    return best


def _mean_rank(method: Method, ranks: Sequence[dict[Method, int]]) -> float:
    own = [r[method] for r in ranks if method in r]
    return sum(own) / len(own)


def _area(found: Pooled | None, rank: int | None, best: bool) -> Cell:
    if found is None:
        return Cell("–", "not run")
    note = f"#{rank} {interval(found.low, found.high, 3)}".strip()
    return Cell(number(found.value, 3), note, strong=best)


def cost_tables(results: Sequence[Result]) -> list[Table]:
    """Completeness, cost, fallback and entropy of each method, one table per data set."""
    wanted = (
        "completeness_residual",
        "forward_passes",
        "seconds_per_image",
        "memory",
        "fallback_share",
        "row_entropy",
    )
    rows = [r for r in results if r.metric.partition("/")[0] in wanted]
    keys = distinct(rows, lambda r: (r.data, r.model))
    return [_cost([r for r in rows if (r.data, r.model) == key], *key) for key in keys]


def _cost(rows: Sequence[Result], data: str, model: str) -> Table:
    body = []
    for method, rule in distinct(rows, lambda r: (r.method, r.rule)):
        here = [r for r in rows if (r.method, r.rule) == (method, rule)]
        body.append(Row((Cell(method_name(method, rule)), *_cost_cells(here))))
    labels = (
        "method",
        "residual",
        "forward passes",
        "time an image",
        "memory",
        "fallback",
        "row entropy",
    )
    return Table(
        f"Completeness and cost, {data_name(data)}, {model}",
        tuple(Column(label, numeric=i > 0) for i, label in enumerate(labels)),
        tuple(body),
        (
            (
                "Residual: largest |Σ map − total| / (1 + |b|) over all images and origins; ✓ "
                f"where it is at most {scientific(COMPLETE)}, ≈ for other methods with a total, "
                "which some only approximate and some lose part of; a dash where none is promised."
            ),
            (
                "Forward passes: time of one explanation in units of one forward pass of the same "
                "batch. Memory: what the first batch held at its peak beyond what was held before. "
                "Fallback: largest mean share of the bias mass split by the fallback, in % "
                "(an upper bound). Row entropy: mean over layers of alpha's rows, in nats (0: one "
                "input takes all)."
            ),
        ),
    )


def _cost_cells(rows: Sequence[Result]) -> tuple[Cell, ...]:
    def values(metric: str) -> list[float]:
        return [r.value for r in rows if r.metric.partition("/")[0] == metric]

    residual, passes, seconds = (
        values(m) for m in ("completeness_residual", "forward_passes", "seconds_per_image")
    )
    share, entropy, memory = values("fallback_share"), values("row_entropy"), values("memory")
    exact = any(r.method in EXACT for r in rows)
    mark = " ≈" if not exact else " ✓" if max(residual, default=0) <= COMPLETE else " ✗"
    none = Cell("–")
    return (
        Cell(scientific(max(residual)) + mark) if residual else none,
        Cell(f"{number(sum(passes) / len(passes), 1)}×") if passes else none,
        Cell(duration(sum(seconds) / len(seconds))) if seconds else none,
        Cell(f"{number(max(memory) / 2**20, 0)} MiB") if memory else none,
        Cell(f"{number(100 * max(share), 2)} %") if share else none,
        Cell(number(sum(entropy) / len(entropy), 2)) if entropy else none,
    )


def layer_tables(results: Sequence[Result]) -> list[Table]:
    """Row entropy of alpha by layer and rule, one table per data set and origin."""
    rows = [r for r in results if r.metric.startswith("row_entropy/")]
    return [_layers(here, *network) for network, here in by_network(rows).items()]


def _layers(rows: Sequence[Result], data: str, model: str, norm: str) -> Table:
    rules = distinct(rows, lambda r: (r.method, r.rule))
    body = []
    for layer in distinct(rows, lambda r: r.metric.partition("/")[2]):
        cells = []
        for method, rule in rules:
            same = (method, rule, f"row_entropy/{layer}")
            found = pooled([r for r in rows if (r.method, r.rule, r.metric) == same])
            cells.append(Cell("–") if found is None else Cell(number(found.value, 2)))
        body.append(Row((Cell(layer), *cells)))
    heads = [Column(RULES.get(rule, rule) or "all", method_name(method)) for method, rule in rules]
    return Table(
        f"Mean row entropy of alpha by layer, {data_name(data)}, {model}, {input_name(norm)}",
        (Column("layer", numeric=False), *heads),
        tuple(body),
        ("In nats. Near the logarithm of the number of inputs a rule spreads the bias evenly.",),
    )
