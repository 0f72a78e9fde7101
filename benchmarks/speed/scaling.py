"""Time against batch, pixels, width and depth, on stacks of convolutions without pools."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from benchmarks.fork import guarded
from benchmarks.results import Row
from benchmarks.speed.clock import Entry, Times, race
from benchmarks.speed.device import device_name, full_precision
from benchmarks.speed.limits import Limits
from benchmarks.speed.methods import METHODS
from benchmarks.speed.statistics import Fit, fit_exponent, summarise
from benchmarks.speed.subject import Subject, random_subject

# Of each axis: an exponent is judged by hundredths.
ROUNDS = 15
SCALED = ("softmax_neg_abs", "proportional", "uniform")
COLUMNS = (
    "axis", "size", "method", "device", "threads", "batch", "side", "width", "depth", "rounds",
    "seconds", "forward_seconds", "ratio", "low", "high", "failure",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """One network with its input.

    Attributes:
        batch: Samples.
        side: Height and width of the pictures in pixels.
        width: Channels of each convolution.
        depth: How many convolutions.
    """

    batch: int = 2
    side: int = 96
    width: int = 32
    depth: int = 6


AXES: dict[str, tuple[int, ...]] = {
    "batch": (1, 2, 4, 8, 16),
    "side": (96, 128, 192, 256, 384),
    "width": (16, 32, 64, 128),
    "depth": (2, 4, 8, 16),
}


def shapes(axis: str) -> dict[int, Shape]:
    """The networks of one axis by size, which is the number of pixels where the side grows."""
    found = [replace(Shape(), **{axis: value}) for value in AXES[axis]]
    return {s.side**2 if axis == "side" else getattr(s, axis): s for s in found}


def axis_rows(limits: Limits, axis: str, sizes: Mapping[int, Shape]) -> list[Row]:
    """A row for each size and rule, all timed in turns in one process of their own.

    Args:
        limits: The options.
        axis: One of `AXES`.
        sizes: Its networks by size.
    """
    seconds = limits.cell(len(sizes) * len(SCALED))
    outcome = guarded(partial(_measure, limits, list(sizes.values())), seconds, limits.threads)
    rows = []
    for index, (size, shape) in enumerate(sizes.items()):
        for rule in SCALED:
            row = {"axis": axis, "size": str(size), "method": rule, "failure": ""}
            row["threads"] = str(limits.threads)
            row |= {key: str(value) for key, value in vars(shape).items()}
            if outcome.value is None:
                row |= {"device": limits.device, "failure": outcome.failure}
            else:
                row |= {"device": outcome.value[0], **_figures(outcome.value[1][f"{rule} {index}"])}
            rows.append(row)
    return rows


def fit(rows: Sequence[Row], axis: str, method: str, column: str = "seconds") -> Fit | None:
    """The exponent of one rule's time along an axis; None without two sizes.

    Args:
        rows: Of ``scaling.csv``.
        axis: One of `AXES`.
        method: One of `SCALED`.
        column: ``seconds``, or ``forward_seconds`` for the forward passes beside it.
    """
    own = [row for row in rows if (row["axis"], row["method"]) == (axis, method)]
    return fit_rows(own, "size", column)


def fit_rows(rows: Sequence[Row], size: str, column: str) -> Fit | None:
    """The exponent of what rows have in a column, by another; of those that have a time."""
    chosen = [row for row in rows if row[column] and not row["failure"]]
    return fit_exponent(
        [float(row[size]) for row in chosen], [float(row[column]) for row in chosen]
    )


def stack(shape: Shape, seed: int = 0) -> Subject:
    """Convolutions with ReLUs at full size, a mean over pixels and ten logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        channels = 3
        for _ in range(shape.depth):
            parts += [nn.Conv2d(channels, shape.width, 3, padding=1), nn.ReLU()]
            channels = shape.width
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
        model = nn.Sequential(*parts, *head)
        return random_subject("stack", model, shape.batch, (3, shape.side, shape.side))


def _measure(limits: Limits, found: Sequence[Shape]) -> tuple[str, dict[str, Times]]:
    warnings.simplefilter("ignore")
    full_precision()
    subjects = [stack(shape).to(limits.device) for shape in found]
    entries = {
        f"{rule} {index}": Entry(subject.forward, METHODS[rule].prepare(subject))
        for index, subject in enumerate(subjects)
        for rule in SCALED
    }
    times = race(entries, max(limits.rounds, ROUNDS), limits.budget, limits.device)
    return device_name(limits.device), times


def _figures(times: Times) -> Row:
    if times.failure or not times.works:
        return {"failure": times.failure or "no round was timed"}
    found = summarise(times.works, times.forwards)
    return {key: f"{value:.4g}" for key, value in vars(found).items()}
