"""Work in a child process that may crash, hang or fill the memory without taking others along."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

Figures = dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What a child sent, or how it failed.

    Attributes:
        figures: Empty if it failed.
        failure: ``Type: message`` of an exception, a time-out or a crash; empty if it did not.
    """

    figures: Figures
    failure: str = ""


def guarded(
    work: Callable[[], Figures], seconds: float, threads: int, *, leads: bool = True
) -> Outcome:
    """Run some work in a fork of this process, so that models need not be made again.

    Threads are started in children only: a fork does not inherit them.

    Args:
        work: What to do.
        seconds: After which the child is ended.
        threads: Threads of the child.
        leads: Whether the child's own children are ended with it; those must not lead.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(work, sender, threads, leads))
    child.start()
    sender.close()
    try:
        outcome = _receive(receiver, seconds)
    finally:
        receiver.close()
        _end(child.pid)
        child.join()
    return outcome or Outcome({}, f"crashed: exit code {child.exitcode}")


def _receive(receiver: Connection, seconds: float) -> Outcome | None:
    """What the child sends in time; None if it ended without a word."""
    try:
        if not receiver.poll(seconds):
            return Outcome({}, f"timed out: {seconds:.0f} s")
        return receiver.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None


def _child(work: Callable[[], Figures], sender: Connection, threads: int, leads: bool) -> None:
    if leads:
        os.setsid()
    torch.set_num_threads(threads)
    try:
        outcome = Outcome(work())
    except Exception as error:  # every failure is an outcome
        lines = str(error).strip().splitlines() or [""]
        outcome = Outcome({}, f"{type(error).__name__}: {lines[0][:300]}")
    sender.send(outcome)
    sender.close()


def _end(pid: int | None) -> None:
    """End a child with the group that it leads; it is not waited for yet, so its number is its."""
    if pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
