"""Paired times: in each round every method runs between two forward passes of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from benchmarks.fork import describe
from benchmarks.speed.device import settle

# A single time is made of as many calls as take this many seconds.
LEAST = 0.02


@dataclass(frozen=True)
class Entry:
    """What is timed.

    Attributes:
        forward: The unit.
        work: The method.
        warm: Whether it needs a call before the first that counts; long ones do not.
    """

    forward: Callable[[], object]
    work: Callable[[], object]
    warm: bool = True


@dataclass
class Times:
    """Seconds by round.

    Attributes:
        works: Of the method.
        forwards: Of a forward pass, the mean of the one before and the one after.
        failure: ``Type: message`` if it raised.
    """

    works: list[float] = field(default_factory=list)
    forwards: list[float] = field(default_factory=list)
    failure: str = ""


def race(entries: Mapping[str, Entry], rounds: int, budget: float, device: str) -> dict[str, Times]:
    """Time all entries in turns; each round begins with another one.

    Args:
        entries: By name.
        rounds: At most.
        budget: An entry whose calls took more seconds than this sits out, after one round at least.
        device: ``cpu`` or ``cuda``.
    """
    times = {name: Times() for name in entries}
    for name, entry in entries.items():
        entry.forward()
        if entry.warm:
            _guard(times[name], entry.work)
    order = list(entries)
    for turn in range(rounds):
        first = turn % max(len(order), 1)
        for name in order[first:] + order[:first]:
            if not times[name].failure and sum(times[name].works) < budget:
                _turn(entries[name], times[name], device)
    return times


def seconds_of(work: Callable[[], object], device: str, least: float = LEAST) -> float:
    """Mean time of as many calls as fill ``least`` seconds."""
    settle(device)
    calls, begin = 0, perf_counter()
    while True:
        work()
        settle(device)
        calls += 1
        elapsed = perf_counter() - begin
        if elapsed >= least:
            return elapsed / calls


def _turn(entry: Entry, times: Times, device: str) -> None:
    before = seconds_of(entry.forward, device)
    found: list[float] = []
    _guard(times, lambda: found.append(seconds_of(entry.work, device)))
    if found:
        times.works += found
        times.forwards.append((before + seconds_of(entry.forward, device)) / 2)


def _guard(times: Times, work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # every failure is a result
        times.failure = describe(error)
