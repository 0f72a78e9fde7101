"""Times of the cases of one scene in turns, and memory by number of pictures."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from benchmarks.fork import guarded
from benchmarks.metrics.case import Case
from benchmarks.metrics.scenes import SIZES, Scene, make_scene
from benchmarks.results import Row
from benchmarks.speed.clock import Entry, Times, race
from benchmarks.speed.statistics import summarise
from biasmatters.metrics.functional.several import deletion_insertion
from biasmatters.training.memory import peak_bytes

COLUMNS = (
    "case", "scene", "pictures", "steps", "passes", "rounds", "seconds", "forward_seconds",
    "ratio", "low", "high", "memory_mib", "failure",
)  # fmt: skip
TIMEOUT = 7200
# What part of a long case's forward passes is timed.
PART = 10
MEMORY_SCENES = ("CNN, two chunks", "CNN, eight chunks")
MEMORY_METHODS = 2
# Of glibc's mallopt: blocks of more bytes than this go back to the system when they are freed.
M_MMAP_THRESHOLD, SMALL_BLOCK = -3, 1 << 16


def timed_rows(cases: Sequence[Case], rounds: int, threads: int, *, quick: bool) -> list[Row]:
    """A row for each case of one scene, all timed in turns in a process of their own.

    Args:
        cases: Of the same scene.
        rounds: How often each is timed, between bare forward passes.
        threads: Of that process.
        quick: Whether to use the scene's small form.
    """
    outcome = guarded(partial(_race, cases, rounds, quick), TIMEOUT, threads)
    rows = []
    for case in cases:
        row = {"case": case.name, "scene": case.scene} | _size(case.scene, quick)
        if outcome.value is None:
            rows.append(row | {"failure": outcome.failure})
        else:
            passes, times = outcome.value[case.name]
            rows.append(row | {"passes": str(passes)} | _figures(times))
    return rows


def memory_row(scene: str, threads: int, *, quick: bool) -> Row:
    """The peak of a call above the scene itself, in a process of its own.

    Args:
        scene: One of `MEMORY_SCENES`.
        threads: Of that process.
        quick: Whether to use the scene's small form.
    """
    outcome = guarded(partial(_peak, scene, quick), TIMEOUT, threads)
    row = {"case": memory_name(), "scene": scene, "failure": outcome.failure} | _size(scene, quick)
    if outcome.value is not None:
        row["memory_mib"] = f"{outcome.value / 2**20:.1f}"
    return row


def memory_name() -> str:
    """The case of the memory rows."""
    return f"memory of {MEMORY_METHODS} methods at once"


def _size(scene: str, quick: bool) -> Row:
    pictures, steps = SIZES[scene][quick]
    return {"pictures": str(pictures), "steps": str(steps)}


def scaled(sizes: Sequence[int], part: int) -> tuple[list[int], float]:
    """Some of the batches, and by what their time must be multiplied for all of them."""
    some = list(sizes[:: max(1, part)])
    return some, sum(sizes) / sum(some)


def _race(cases: Sequence[Case], rounds: int, quick: bool) -> dict[str, tuple[int, Times]]:
    warnings.simplefilter("ignore")
    scene = make_scene(cases[0].scene, quick=quick)
    long = [case for case in cases if case.once]
    short = [case for case in cases if not case.once]
    times = race({case.name: _entry(case, scene) for case in short}, rounds, TIMEOUT, "cpu")
    times |= race({case.name: _entry(case, scene) for case in long}, 1, TIMEOUT, "cpu")
    found = {}
    for case in cases:
        needs = case.needs(scene)
        _, factor = scaled(needs, PART if case.once else 1)
        times[case.name].forwards = [t * factor for t in times[case.name].forwards]
        found[case.name] = (sum(needs), times[case.name])
    return found


def _entry(case: Case, scene: Scene) -> Entry:
    some, _ = scaled(case.needs(scene), PART if case.once else 1)
    return Entry(partial(scene.forward, some), case.work(scene), warm=not case.once)


def _figures(times: Times) -> Row:
    if times.failure or not times.works:
        return {"failure": times.failure or "no round was timed"}
    return {key: f"{v:.4g}" for key, v in vars(summarise(times.works, times.forwards)).items()}


def _peak(name: str, quick: bool) -> int:
    warnings.simplefilter("ignore")
    with suppress(AttributeError, OSError):
        # Otherwise the high-water mark is of what the C library holds for later.
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, SMALL_BLOCK)
    scene = make_scene(name, quick=quick)
    maps = dict(list(scene.maps.items())[:MEMORY_METHODS])
    call = partial(deletion_insertion, scene.model, steps=scene.steps)
    # The libraries' code has run before, on one chunk.
    rows = slice(0, scene.chunk)
    call(x=scene.x[rows], maps={key: some[rows] for key, some in maps.items()})
    peak = peak_bytes(lambda: call(x=scene.x, maps=maps), "cpu")
    if peak is None:
        raise RuntimeError("this system does not tell its high-water mark")
    return peak
