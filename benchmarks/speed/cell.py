"""One model at one batch size: every method tried on its own, then all of them in turns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from benchmarks.fork import Outcome, guarded
from benchmarks.results import Row
from benchmarks.speed.attempt import attempt
from benchmarks.speed.clock import Entry, Times, race
from benchmarks.speed.device import device_name, full_precision
from benchmarks.speed.floor import floor_seconds
from benchmarks.speed.limits import OVER, Limits
from benchmarks.speed.methods import METHODS, UNIT
from benchmarks.speed.models import make_subject
from benchmarks.speed.rates import Rates, measure_rates
from benchmarks.speed.statistics import summarise
from benchmarks.speed.subject import Subject
from benchmarks.speed.trial import Trial, try_out

Value = TypeVar("Value")

COLUMNS = (
    "model", "batch", "method", "device", "threads", "input", "connections", "rounds", "seconds",
    "forward_seconds", "ratio", "low", "high", "memory_mib", "memory_ratio", "products",
    "exponentials", "floor", "fraction", "failure",
)  # fmt: skip
# Calls longer than this, in seconds, need no warm-up beside their trial.
LONG = 5.0
# Below this many bytes for the gradient, what the libraries hold hides what a method holds.
VISIBLE = 32 << 20


def cell_rows(limits: Limits, model: str, batch: int, methods: Sequence[str]) -> list[Row]:
    """A row for each method, whatever happens; in a process of its own.

    Args:
        limits: The options.
        model: One of `MODELS`.
        batch: Samples.
        methods: Some of `METHODS`.
    """
    work = partial(_measure, limits, model, batch, methods)
    outcome = guarded(work, limits.cell(len(methods) + 1), 1)
    if outcome.value is not None:
        return outcome.value
    start = {"model": model, "batch": str(batch), "device": limits.device}
    return [{**start, "method": method, "failure": outcome.failure} for method in methods]


def _measure(limits: Limits, model: str, batch: int, methods: Sequence[str]) -> list[Row]:
    """In the cell's process; it makes the model once and forks for everything else."""
    warnings.simplefilter("ignore")
    full_precision()
    subject = make_subject(model, batch).to(limits.device)
    unit = _tried(limits, subject, UNIT)
    trials = {UNIT: unit} | {
        name: _tried(limits, subject, name, unit.value) for name in methods if name != UNIT
    }
    passed = {n: t.value for n, t in trials.items() if n in methods and _timed(t)}
    seconds = limits.cell(len(passed))
    timed = _apart(limits, partial(_race, limits, subject, passed), seconds)
    rows = []
    for name in methods:
        row = _start(limits, subject, name) | _memory(trials[name].value, unit.value)
        if trials[name].failure or timed.value is None:
            row["failure"] = trials[name].failure or timed.failure
        else:
            times, rates = timed.value
            row |= _figures(subject, trials[name].value, times[name], rates)
        rows.append(row)
    return rows


def _apart(limits: Limits, work: Callable[[], Value], seconds: float) -> Outcome[Value]:
    """Run some work in a fork, or here where the work needs the GPU that this process holds."""
    if limits.device == "cuda":
        return attempt(work, seconds)
    return guarded(work, seconds, limits.threads, leads=False)


def _tried(
    limits: Limits, subject: Subject, name: str, unit: Trial | None = None
) -> Outcome[Trial]:
    """A method's first call, unless it would be far too long."""
    method = METHODS[name]
    reason = limits.forbids(method, unit.seconds if unit else 0, subject.connections)
    if reason:
        return Outcome(None, reason)
    work = partial(try_out, subject, method, limits.budget, memory=limits.memory)
    outcome = _apart(limits, work, limits.timeout)
    if outcome.value is not None:
        return Outcome(outcome.value, limits.judges(outcome.value.seconds))
    if outcome.failure.startswith("timed out"):
        reason = f"{OVER}: the first call took more than {limits.timeout:.0f} s"
        return Outcome(None, reason)
    return outcome


def _timed(outcome: Outcome[Trial]) -> bool:
    return outcome.value is not None and not outcome.failure


def _race(
    limits: Limits, subject: Subject, trials: dict[str, Trial | None]
) -> tuple[dict[str, Times], Rates]:
    """All times in one process, and the machine's prices."""
    entries = {
        name: Entry(
            subject.forward,
            METHODS[name].prepare(subject),
            warm=trial is None or trial.seconds < LONG,
        )
        for name, trial in trials.items()
    }
    rates = measure_rates(limits.device)
    return race(entries, limits.rounds, limits.budget, limits.device), rates


def _start(limits: Limits, subject: Subject, method: str) -> Row:
    return {
        "model": subject.name,
        "batch": str(len(subject.x)),
        "method": method,
        "device": device_name(limits.device),
        "threads": str(limits.threads),
        "input": "x".join(map(str, subject.x.shape)),
        "connections": str(subject.connections),
    }


def _memory(trial: Trial | None, unit: Trial | None) -> Row:
    if trial is None or trial.memory is None:
        return {}
    row = {"memory_mib": f"{trial.memory / 2**20:.1f}"}
    if unit is not None and unit.memory is not None and unit.memory >= VISIBLE:
        row["memory_ratio"] = f"{trial.memory / unit.memory:.4g}"
    return row


def _figures(subject: Subject, trial: Trial | None, times: Times, rates: Rates) -> Row:
    if times.failure or not times.works:
        return {"failure": times.failure or "no round was timed"}
    found = summarise(times.works, times.forwards)
    row = {
        "rounds": str(found.rounds),
        "seconds": f"{found.seconds:.4g}",
        "forward_seconds": f"{found.forward_seconds:.4g}",
        "ratio": f"{found.ratio:.4g}",
        "low": f"{found.low:.4g}",
        "high": f"{found.high:.4g}",
    }
    if trial is None or trial.demand is None:
        return row
    least = floor_seconds(trial.demand, subject.load, len(subject.x), found.forward_seconds, rates)
    return row | {
        "products": str(trial.demand.products),
        "exponentials": str(trial.demand.exponentials),
        "floor": f"{least / found.forward_seconds:.4g}",
        "fraction": f"{least / found.seconds:.4g}",
    }
