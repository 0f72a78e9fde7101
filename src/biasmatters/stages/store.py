"""The content-addressed store: a folder per stage result, complete or absent."""

from __future__ import annotations

import errno
import logging
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from biasmatters.stages.files import read_json, swap_in, write_json, write_yaml
from biasmatters.stages.task import Task
from biasmatters.types import BiasmattersError

log = logging.getLogger(__name__)

DONE = "DONE"
INPUTS = "inputs.json"
CONFIG = "config.yaml"
_DISK_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EFBIG}


class StoreError(BiasmattersError):
    """The store cannot be written to."""


@dataclass(frozen=True)
class Entry:
    """A finished stage.

    Attributes:
        task: What was asked for.
        folder: Where its files lie.
        made: A random word of this very making; those who read from it remember it.
        seconds: How long the making took (its last part, if it was resumed).
        cached: Whether it was there already.
    """

    task: Task
    folder: Path
    made: str
    seconds: float
    cached: bool


class Store:
    """Finds and makes stage results below one folder.

    Args:
        root: The store's folder; made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, task: Task) -> Path:
        """Where the result of a task lies once it is finished."""
        return self.root / task.stage / task.key

    def find(self, task: Task, inputs: Mapping[str, Entry]) -> Entry | None:
        """The finished result, or None if it is missing, damaged or older than its inputs."""
        folder = self.folder(task)
        try:
            done, made_from = read_json(folder / DONE), read_json(folder / INPUTS)
        except (OSError, ValueError):
            return None
        if made_from != _lineage(inputs) or done["files"] != _sizes(folder):
            return None
        return Entry(task, folder, done["made"], done["seconds"], cached=True)

    def get(self, task: Task, inputs: Mapping[str, Entry]) -> Entry:
        """The finished result, made now if need be.

        Args:
            task: What to make.
            inputs: The finished results of ``task.inputs``, by role.

        Raises:
            StoreError: The disk is full or the folder cannot be written to.
        """
        if entry := self.find(task, inputs):
            return entry
        try:
            with self._lock(task):
                return self.find(task, inputs) or self._make(task, inputs)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            raise StoreError(
                f"cannot write the result of stage {task.stage} below {self.root}: "
                f"{error.strerror or error}. Free some space or choose another folder with "
                f"store=FOLDER, and run the same command again: finished stages are kept."
            ) from error

    def _lock(self, task: Task) -> FileLock:
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{task.stage}-{task.key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s %s is being made by another run: waiting for it", task.stage, task.key)
            lock.acquire()
        lock.release()
        return lock

    def _make(self, task: Task, inputs: Mapping[str, Entry]) -> Entry:
        place = self.folder(task)
        work = place.with_name(f".work-{place.name}")
        _prepare(work, _lineage(inputs), keep=task.work.resumable)
        started = time.monotonic()
        task.work.run(work, {role: entry.folder for role, entry in inputs.items()})
        seconds = time.monotonic() - started
        write_yaml(work / CONFIG, _describe(task))
        made = uuid.uuid4().hex
        write_json(work / DONE, {"made": made, "seconds": seconds, "files": _sizes(work)})
        swap_in(work, place)
        return Entry(task, place, made, seconds, cached=False)


def _prepare(work: Path, lineage: dict[str, str], keep: bool) -> None:
    try:
        same = keep and read_json(work / INPUTS) == lineage
    except (OSError, ValueError):
        same = False
    if not same and work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    if not same:
        write_json(work / INPUTS, lineage)


def _lineage(inputs: Mapping[str, Entry]) -> dict[str, str]:
    return {
        role: f"{entry.task.stage}/{entry.task.key}@{entry.made}" for role, entry in inputs.items()
    }


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != DONE)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _describe(task: Task) -> dict[str, Any]:
    return {
        "stage": task.stage,
        "version": task.work.version,
        "key": task.digest,
        "data_fingerprint": task.data,
        "settings": task.work.settings(),
    }
