"""Kernels side by side on threads of our own, where torch's cannot be asked (see `openmp`).

Compiled loops let go of Python's lock, so that ordinary threads run them at once. That pays where
torch's own threads sleep when they have nothing to do (``OMP_WAIT_POLICY=PASSIVE``, as our commands
ask for). By default they go on spinning for a while, and ours would have to share a core with them:
then kernels stay in the thread that asks, and most of them are as fast as memory is anyway.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from threading import Lock

import torch

from biasmatters.kernels.availability import spinning

# Numbers below which waking a thread takes longer than what it would save.
LEAST = 1 << 18
# Ranges for each thread.
TURNS = 4


class _Pool:
    """As many threads as torch may use, less the one that asks."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._size = 0
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._forget)

    def of(self, size: int) -> ThreadPoolExecutor:
        """The threads, which are started when they are first asked for."""
        if self._threads is None or self._size != size:
            self._threads, self._size = ThreadPoolExecutor(size, "biasmatters"), size
        return self._threads

    def _forget(self) -> None:
        self._threads = None


_POOL = _Pool()


def side_by_side(work: Callable[[int, int], object], rows: int, numbers: int) -> None:
    """Call ``work(start, stop)`` for ranges that cover all rows once.

    The ranges are several for each thread, and taken one after the other: a thread takes a while to
    wake up, and the one that asks has begun by then.

    Args:
        work: A kernel that works on some rows, whichever they are.
        rows: How many there are.
        numbers: How many numbers all of them are made of.
    """
    parts = 1 if spinning() else min(torch.get_num_threads(), rows, max(numbers // LEAST, 1))
    if parts <= 1:
        work(0, rows)
        return
    count = min(rows, TURNS * parts)
    ends = [i * rows // count for i in range(count + 1)]
    ranges, lock = iter(list(pairwise(ends))), Lock()

    def take_turns() -> None:
        while True:
            with lock:
                first, last = next(ranges, (0, 0))
            if first == last:
                return
            work(first, last)

    others = []
    for _ in range(parts - 1):
        # An interpreter that is closing down starts no more work: then it is all done here.
        with suppress(RuntimeError):
            others.append(_POOL.of(torch.get_num_threads() - 1).submit(take_turns))
    try:
        take_turns()
    finally:  # others may be writing still
        for other in others:
            other.result()
