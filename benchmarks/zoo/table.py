"""The table, as a function of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.results import Row
from benchmarks.zoo.ours import RULES
from benchmarks.zoo.peers import PEERS
from benchmarks.zoo.results import succeeded

_HEAD = (
    "model", "input", "parameters (M)", "connections (M)", "verdict", "first-order operations",
    "residual", "tolerance", "largest \\|b\\|", "time", *(f"BBp {rule}" for rule in RULES),
    "Captum LRP", "Captum DeepLift", "Zennit EpsilonPlus", "FullGrad",
)  # fmt: skip

_LEGEND = """\
Random weights, biases, gains, raw parameters and batch-norm statistics, calibrated so that
activations stay of the order of one, and with smaller gains where |b| still exceeded 1000 (1 + |f|)
(such networks are chaotic, and f is below the round-off of b); float64; the smallest input that the
model takes; the predicted class is explained. *residual* is |ledger - (f - J·x)|, *tolerance* the
bound 1e-9 (1 + |b| + Σ|shares|), times are in forward passes (medians, same process). *BBp* gives
|Σ map - b| and its time; **bold** marks what is above the bound. `softmax_neg_abs` is left out (-)
above the limit of connections. A peer is *complete* up to a relative error of 1e-6 in the sum that
its method promises (f for LRP, EpsilonPlus and FullGrad; f(x) - f(0) for DeepLift), else *silently
incomplete* with that error, or it *raises*."""


def render(rows: Sequence[Row], facts: Sequence[tuple[str, str]]) -> str:
    """The whole document.

    Args:
        rows: As in the results file.
        facts: Versions, processor, date and command, by name.
    """
    lines = ["# The zoo", "", _LEGEND, ""]
    lines += [f"- {name}: {value}" for name, value in facts]
    lines += ["", *_summary(rows), ""]
    lines += [_line(_HEAD), _line(["---"] * len(_HEAD))]
    lines += [_line(_cells(row)) for row in sorted(rows, key=_order)]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row]) -> list[str]:
    passed = sum(map(succeeded, rows))
    exact = sum(row["affine_verdict"] == "exact" for row in rows)
    lines = [
        f"{passed} of {len(rows)} models pass, {exact} of them with the verdict exact.",
        "",
        "| peer | complete | silently incomplete | raises, crashes or times out |",
        "|---|---|---|---|",
    ]
    for peer in PEERS:
        counts = Counter(_outcome(row, peer) for row in rows)
        figures = [str(counts[key]) for key in ("complete", "silently incomplete", "raises")]
        lines.append(_line([peer, *figures]))
    return lines


def _outcome(row: Row, peer: str) -> str:
    return row[f"{peer}_outcome"] or ("raises" if row[f"{peer}_failure"] else "not run")


def _cells(row: Row) -> list[str]:
    if row["failure"]:
        return [row["model"], f"**{_escape(row['failure'])}**"] + [""] * (len(_HEAD) - 2)
    head = [row["model"], row["input"], _millions(row["parameters"]), _millions(row["connections"])]
    return [*head, *_affine(row), *(_rule(row, r) for r in RULES), *(_peer(row, p) for p in PEERS)]


def _affine(row: Row) -> list[str]:
    if row["affine_failure"]:
        return [f"**{_escape(row['affine_failure'])}**", "", "", "", "", ""]
    residual = _bold(row["affine_residual"], row["affine_passed"])
    return [
        row["affine_verdict"],
        row["affine_ops"],
        residual,
        row["affine_tolerance"],
        row["affine_bias"],
        row["affine_forwards"],
    ]


def _rule(row: Row, rule: str) -> str:
    if row[f"{rule}_failure"]:
        return f"**{_escape(row[f'{rule}_failure'])}**"
    if not row[f"{rule}_residual"]:
        return "-"
    residual = _bold(row[f"{rule}_residual"], row[f"{rule}_passed"])
    return f"{residual} ({row[f'{rule}_forwards']})"


def _peer(row: Row, peer: str) -> str:
    failure = row[f"{peer}_failure"].partition(":")[0]
    match _outcome(row, peer):
        case "complete":
            return "complete"
        case "silently incomplete":
            return f"silently incomplete ({row[f'{peer}_error']})"
        case "raises":
            return failure if failure in ("timed out", "crashed") else f"raises ({failure})"
    return "-"


def _order(row: Row) -> tuple[bool, str]:
    return row["model"].startswith("timm/"), row["model"]


def _millions(count: str) -> str:
    return f"{int(count) / 1e6:.3g}" if float(count) < 1e9 else f"{int(count) / 1e6:.0f}"


def _bold(text: str, passed: str) -> str:
    return text if passed == "True" else f"**{text}**"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
