"""Kernels on several threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from biasmatters.kernels import (
    bends,
    borders,
    branches,
    channels,
    dense,
    even,
    machine_code,
    points,
    pools,
    shares,
    tiles,
    totals,
)
from biasmatters.kernels import threads as room
from biasmatters.kernels.cuts import find_cuts
from biasmatters.kernels.machine_code import Task, compiled, stacks
from biasmatters.kernels.openmp import OPENMP
from biasmatters.kernels.shares import ROW
from tests.kernels.values import numbers


@pytest.fixture(autouse=True)
def several(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if every kernel were worth several threads, and torch's own slept meanwhile."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(room, "LEAST", 1)
    monkeypatch.setattr(machine_code, "LEAST", 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["torch's", "our own"])
def whose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """On whose threads kernels run."""
    if request.param == "our own":
        monkeypatch.setattr(OPENMP, "at_hand", False)
    elif not OPENMP.at_hand:
        pytest.skip("torch's OpenMP cannot be asked here")
    return str(request.param)


def some(*shape: int, seed: int) -> Tensor:
    return numbers(*shape, dtype=torch.float64, seed=seed)


def ran(asked: tuple[Task, Any]) -> Any:
    """What a task wrote to."""
    machine_code.run_all(asked[0])
    return asked[1]


def made() -> dict[str, Callable[[], object]]:
    shape = (3, 5, 41, 67)  # several rows and spans, and no multiple of either
    a, b, c = (some(*shape, seed=n) for n in range(3))
    bounds = torch.tensor([-0.5, 1.0, -0.5, 1.0]).double()
    y, shift = c.clamp(-0.5, 1.0), some(5, seed=4)
    weight, tau = some(4, 5, seed=5), some(3, 4, 41, 67, seed=6)
    cuts = find_cuts(weight)
    pooled = torch.nn.functional.max_pool2d(a, 3, 2, 1)
    bias = some(*pooled.shape, seed=7)

    def bent_over(tau: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return tau, tau.flip(0), tau.clamp(-0.5, 1.0), shift[:4], bounds

    wide, few, out = some(900, 700, seed=8), some(2, 700, seed=9).abs(), some(2, 900, seed=10)
    square, placing = some(5, 5, 3, 3, seed=11), (((1, 1), (1, 1)), (1, 1), (1, 1))
    return {
        "weigh": lambda: bends.weigh(a, y, bounds),
        "carry": lambda: bends.carry(b, a, y, shift, bounds),
        "carry bias": lambda: bends.carry(b, None, y, shift, bounds),
        "strand": lambda: bends.strand(b, a, y, bounds),
        "divide": lambda: shares.divide(a, b.abs(), (0.0, 0.5)),
        "stranded": lambda: shares.strand(a, b.abs(), (0.0, 0.5)),
        "present": lambda: shares.present(a),
        "count": lambda: channels.count_present(a),
        "sum": lambda: channels.sum_channels(a),
        "give": lambda: channels.give(a, b[:, :1].contiguous()),
        "give both": lambda: channels.give(a, b[:, :1].contiguous(), c[:, :1].contiguous()),
        "sum above a bend": lambda: ran(
            channels.sum_bent(
                channels.arrays_of((b, a, y, shift, bounds)), stacks(c), np.array([0, 2, 3, 4])
            )
        ),
        "even": lambda: even.split_bent(
            a, (b, a, y, shift, bounds), square, torch.tensor([1]), *placing, (0.0, 0.5)
        ),
        "totals": lambda: totals.split(a, b[:, :, :1, :1].contiguous(), 1.0, (0, 0.5), even=True),
        "points": lambda: points.split(a, tau, cuts, to_all=False),
        "points to all": lambda: points.split(a, tau, cuts, to_all=True),
        "tiles": lambda: tiles.split_bent(a, bent_over(tau), weight.abs(), cuts, (0.0, 0.5)),
        "tiles of a gradient": lambda: tiles.pass_back((tau, tau, None, bounds), weight, a),
        "pools": lambda: pools.route(a, pooled, bias, (3, 3), (2, 2), (1, 1), (1, 1)),
        "borders": lambda: borders.border_sums(a, (2, 40, 3, 50)),
        "branches": lambda: branches.meet(a, (b, c), (1.0, -1.0), "by size", (0.0, 0.1)),
        # In parts of rows, whose sums are added up in another order.
        "dense": lambda: dense.split(wide, few, out, (0.0, 1e-3), even=False),
    }


KERNELS = made()


@pytest.mark.usefixtures("whose")
@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_the_threads(name: str) -> None:
    torch.set_num_threads(1)
    alone = KERNELS[name]()
    for count in (2, 3):
        torch.set_num_threads(count)
        together = KERNELS[name]()
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_row_is_worked_on_once(rows: int, count: int) -> None:
    torch.set_num_threads(count)
    done: list[int] = []
    names: set[str] = set()

    def work(start: int, stop: int) -> None:
        names.add(threading.current_thread().name)
        done.extend(range(start, stop))
        time.sleep(0.01)  # time enough for another thread to wake up and take the next range

    room.side_by_side(work, rows, 1000)
    assert sorted(done) == list(range(rows))
    others = {name for name in names if name.startswith("biasmatters")}
    assert bool(others) == (min(rows, count) > 1)


def calls(rows: int, size: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    room.side_by_side(lambda start, stop: found.append((start, stop)), rows, size)
    return sorted(found)


@pytest.mark.parametrize("policy", [None, "ACTIVE", ""])
def test_no_threads_beside_those_that_spin(
    policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    assert len(calls(10, 1000)) == 2 * room.TURNS
    if policy is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert calls(10, 1000) == [(0, 10)]


def test_no_threads_for_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setattr(room, "LEAST", 100)
    assert calls(10, 199) == [(0, 10)]
    monkeypatch.setattr(room, "TURNS", 1)
    assert calls(10, 200) == [(0, 5), (5, 10)]
    assert calls(10, 300) == [(0, 3), (3, 6), (6, 10)]
    assert calls(10, 10000) == [(0, 3), (3, 6), (6, 10)]


@pytest.mark.parametrize("where", [0, 5])
def test_what_fails_on_a_thread_is_raised(where: int) -> None:
    torch.set_num_threads(2)

    def work(start: int, stop: int) -> None:
        if start == where:
            raise KeyError(start)

    with pytest.raises(KeyError):
        room.side_by_side(work, 10, 1000)


@compiled
def _count(start: int, stop: int, limit: int, seen: Any, ranges: Any) -> None:
    for p in range(start, stop):
        seen[p] += 1
        ranges[p] = stop - start
        if p >= limit:
            raise ValueError


torchs = pytest.mark.skipif(not OPENMP.at_hand, reason="torch's OpenMP cannot be asked here")


def _ask(rows: int, limit: int) -> tuple[Tensor, Tensor]:
    seen, ranges = torch.zeros(rows).long(), torch.zeros(rows).long()
    machine_code.run(_count, rows, rows, limit, seen.numpy(), ranges.numpy())
    return seen, ranges


@torchs
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_torchs_threads_take_every_row_once(rows: int, count: int) -> None:
    torch.set_num_threads(count)
    seen, ranges = _ask(rows, rows)
    assert seen.tolist() == [1] * rows
    workers = min(rows, count)
    wanted = rows if workers == 1 else -(-rows // (machine_code.TURNS * workers))
    assert int(ranges.max()) == wanted


@torchs
@pytest.mark.parametrize("policy", [None, "ACTIVE", "PASSIVE"])
def test_torchs_threads_may_spin(policy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    torch.set_num_threads(2)
    assert int(_ask(100, 100)[1].max()) < 100


@torchs
@pytest.mark.parametrize("limit", [0, 13, 99])
def test_what_fails_on_torchs_threads_is_raised(limit: int) -> None:
    torch.set_num_threads(2)
    with pytest.raises(MemoryError, match=r"_count failed on 100 rows"):
        _ask(100, limit)
    assert _ask(100, 100)[0].tolist() == [1] * 100


@compiled
def _double(start: int, stop: int, x: Any, out: Any) -> None:
    for p in range(start, stop):
        out[p] = 2 * x[p]


@pytest.mark.usefixtures("whose")
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("several", [1, 2, 3])
def test_kernels_run_one_behind_the_other(several: int, count: int) -> None:
    torch.set_num_threads(count)
    rooms = [np.arange(100.0), *np.zeros((several, 100))]
    pairs = list(pairwise(rooms))
    machine_code.run_all(*[(_double, 100, 100, pair) for pair in pairs])
    assert (rooms[-1] == np.arange(100.0) * 2**several).all()


@pytest.mark.parametrize("several", [0, 4])
def test_too_many_kernels_are_refused(several: int) -> None:
    x = np.zeros(1)
    with pytest.raises(ValueError, match=f"1 to 3 kernels, not {several}"):
        machine_code.run_all(*[(_double, 1, 1, (x, x))] * several)


@torchs
@pytest.mark.parametrize("limit", [0, 50])
def test_what_fails_among_several_kernels_is_raised(limit: int) -> None:
    torch.set_num_threads(2)
    x, ranges = np.zeros(100), np.zeros(100, np.int64)
    seen = np.zeros(100, np.int64)
    tasks = (_double, 100, 100, (x, x)), (_count, 100, 100, (limit, seen, ranges))
    with pytest.raises(MemoryError, match="_double or _count failed on 100 rows"):
        machine_code.run_all(*tasks)


@torchs
def test_a_numba_that_does_not_fit_costs_speed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kernel: object) -> Callable[..., object]:
        raise AttributeError("no such part")

    monkeypatch.setattr(machine_code, "_together", refuse)
    monkeypatch.setattr(OPENMP, "at_hand", True)
    torch.set_num_threads(2)
    with pytest.warns(UserWarning, match="no such part.*threads of their own"):
        seen, _ = _ask(100, 100)
    assert seen.tolist() == [1] * 100
    assert not OPENMP.at_hand
    assert _ask(100, 100)[0].tolist() == [1] * 100


@torchs
def test_a_kernel_for_several_threads_is_kept_on_disk(tmp_path: Path) -> None:
    code = (
        "import torch; from biasmatters.kernels import machine_code, shares; "
        "torch.set_num_threads(2); machine_code.LEAST = 1; "
        "shares.present(torch.ones(9 * shares.ROW)); "
        "found = machine_code._together(shares._present); "
        "print(sum(found.stats.cache_hits.values()), sum(found.stats.cache_misses.values()))"
    )
    kept = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for wanted in ("0 1", "1 0"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True
        )
        assert done.stdout.split("\n")[0] == wanted


def _in_the_child(x: Tensor, wanted: Tensor) -> None:
    os._exit(0 if torch.equal(shares.present(x), wanted) else 3)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_forked_after_threads_were_used_has_its_own(whose: str) -> None:
    torch.set_num_threads(2)
    x = some(3 * ROW + 5, seed=0)
    wanted = shares.present(x)  # starts the threads, which the child does not have
    assert whose == "torch's" or room._POOL._threads is not None
    child = multiprocessing.get_context("fork").Process(target=_in_the_child, args=(x, wanted))
    child.start()
    child.join(30)
    code = child.exitcode
    if code is None:
        child.kill()
        child.join()
    assert code == 0
    assert torch.equal(shares.present(x), wanted)
