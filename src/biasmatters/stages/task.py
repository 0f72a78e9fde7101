"""A stage bound to its inputs: a node of the plan, and its content-addressed key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol


class Stage(Protocol):
    """What a stage must offer: a name, what its result depends on, and the work."""

    @property
    def stage(self) -> str:
        """Name of the stage, also of its folder in the store."""
        ...

    @property
    def version(self) -> int:
        """Raised by hand whenever the stage's code gives other results."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether a half-finished work folder is worth keeping."""
        ...

    def slug(self) -> str:
        """Readable part of the folder's name."""
        ...

    def settings(self) -> dict[str, Any]:
        """Plain values that the result depends on, besides inputs and data."""
        ...

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Do the work: read from ``inputs``, write into ``folder``."""
        ...


@dataclass(frozen=True, eq=False)
class Task:
    """A stage, the tasks that it reads from, and the fingerprint of the data that it uses."""

    work: Stage
    inputs: Mapping[str, Task] = field(default_factory=dict)
    data: str = ""

    @cached_property
    def digest(self) -> str:
        """sha256 over stage, its version, its settings, its inputs' keys and the data."""
        content = {
            "stage": self.work.stage,
            "version": self.work.version,
            "settings": self.work.settings(),
            "inputs": {role: task.digest for role, task in self.inputs.items()},
            "data": self.data,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.work.stage

    @property
    def key(self) -> str:
        """Name of the result's folder: ``<slug>-<12 hexadecimal digits>``."""
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.work.slug()).strip("-.")
        return f"{slug[:80]}-{self.digest[:12]}"

    def ancestors(self) -> Iterator[Task]:
        """The tasks this one needs, each before those that read from it, then itself."""
        seen: set[str] = set()
        yield from _walk(self, seen)


def _walk(task: Task, seen: set[str]) -> Iterator[Task]:
    for parent in task.inputs.values():
        yield from _walk(parent, seen)
    if task.digest not in seen:
        seen.add(task.digest)
        yield task
