"""Time in units of one forward pass, both taken in the same process, in turns."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch

from benchmarks.zoo.subject import Subject

Result = TypeVar("Result")


def forward_passes(
    subject: Subject, work: Callable[[], Result], budget: float = 6.0, most: int = 5
) -> tuple[Result, float, float]:
    """Some work's result, its median time in forward passes, and a forward pass in seconds.

    Args:
        subject: Whose forward pass (without gradient) is the unit.
        work: What is timed. Its first run counts only if it alone takes more than the budget.
        budget: Seconds after which no further turn begins.
        most: Turns at most.
    """
    begin = perf_counter()
    result = work()
    times = [perf_counter() - begin]
    _forward(subject)
    units = [_seconds(lambda: _forward(subject)) for _ in range(2)]
    if times[0] < budget:
        times.clear()
    while len(times) < most and (not times or perf_counter() - begin < budget):
        units.append(_seconds(lambda: _forward(subject)))
        times.append(_seconds(work))
    return result, median(times) / median(units), median(units)


def _forward(subject: Subject) -> None:
    with torch.no_grad():
        subject.model(subject.x)


def _seconds(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin
