"""Work in a child process that may crash, hang or fill the memory without taking others along."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

import torch

Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What a child sent, or how it failed.

    Attributes:
        value: None if it failed.
        failure: ``Type: message`` of an exception, a time-out or a crash; empty if it did not.
    """

    value: Value | None
    failure: str = ""


def guarded(
    work: Callable[[], Value], seconds: float, threads: int, *, leads: bool = True
) -> Outcome[Value]:
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
        outcome: Outcome[Value] | None = _receive(receiver, seconds)
    finally:
        receiver.close()
        _end(child.pid)
        child.join()
    return outcome or Outcome(None, f"crashed: exit code {child.exitcode}")


def single_threaded() -> int:
    """Keep this process fit for forking; returns the number of threads its children may have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


def describe(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def late(seconds: float) -> str:
    """What is said of work that was ended."""
    return f"timed out: {seconds:.0f} s"


def _receive(receiver: Connection, seconds: float) -> Outcome[Value] | None:
    """What the child sends in time; None if it ended without a word."""
    try:
        if not receiver.poll(seconds):
            return Outcome(None, late(seconds))
        return receiver.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None


def _child(work: Callable[[], Value], sender: Connection, threads: int, leads: bool) -> None:
    if leads:
        os.setsid()
    torch.set_num_threads(threads)
    outcome: Outcome[Value]
    try:
        outcome = Outcome(work())
    except Exception as error:  # every failure is an outcome
        outcome = Outcome(None, describe(error))
    sender.send(outcome)
    sender.close()


def _end(pid: int | None) -> None:
    """End a child with the group that it leads; it is not waited for yet, so its number is its."""
    if pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
