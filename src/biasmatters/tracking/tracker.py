"""What a tracker is told, and how one is chosen."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from biasmatters.types import Result, Versus

log = logging.getLogger(__name__)


class StageLike(Protocol):
    """A finished stage, as the store hands it over."""

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        ...

    @property
    def seconds(self) -> float:
        """What it took."""
        ...

    @property
    def cached(self) -> bool:
        """Whether it was there already."""
        ...


class Tracker(Protocol):
    """Follows one run. It only ever reads from the store."""

    def stage(self, entry: StageLike) -> None:
        """A stage is finished."""
        ...

    def report(
        self, folder: Path, results: Sequence[Result], versus: Sequence[Versus] = ()
    ) -> None:
        """The report is published."""
        ...

    def close(self, failed: bool) -> None:
        """The run is over."""
        ...


class NoTracker:
    """Tells nobody."""

    def stage(self, entry: StageLike) -> None:
        """Do nothing."""

    def report(
        self, folder: Path, results: Sequence[Result], versus: Sequence[Versus] = ()
    ) -> None:
        """Do nothing."""

    def close(self, failed: bool) -> None:
        """Do nothing."""


@contextmanager
def tracker(settings: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> Iterator[Tracker]:
    """The tracker that ``settings`` ask for, closed at the end.

    Args:
        settings: ``kind`` (csv or wandb), ``mode``, ``project``, ``entity``, ``folder``.
        name: Name of the run.
        config: The run's configuration, for the record.
    """
    follower = _choose(settings, name, config)
    failed = True
    try:
        yield follower
        failed = False
    finally:
        follower.close(failed)


def _choose(settings: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> Tracker:
    if settings["kind"] != "wandb":
        return NoTracker()
    try:
        from biasmatters.tracking.weights_and_biases import WandbTracker
    except ImportError:
        log.warning("wandb is not installed: this run is not mirrored (pip install wandb)")
        return NoTracker()
    return WandbTracker(settings, name, config)
