"""One metric on one scene, with the forward passes that it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.metrics.scenes import Scene, batches

Work = Callable[[], object]


@dataclass(frozen=True)
class Goal:
    """What is asked of a case.

    Attributes:
        column: ``ratio`` or ``seconds``.
        most: Its largest value that is good enough.
    """

    column: Literal["ratio", "seconds"]
    most: float


@dataclass(frozen=True)
class Case:
    """A metric on a scene.

    Attributes:
        name: In the table.
        scene: One of `SIZES`.
        needs: The bare forward passes that it cannot do without, as sizes of batches.
        work: Makes the work from the scene.
        goal: If any.
        once: Whether it is long: timed in a single round without a call to warm up, against a
            tenth of its forward passes.
        counted: Whether the passes are just those that it makes; else they are its yardstick only,
            for it looks at the model's layers, or never runs it.
    """

    name: str
    scene: str
    needs: Callable[[Scene], list[int]]
    work: Callable[[Scene], Work]
    goal: Goal | None = None
    once: bool = False
    counted: bool = True


def calls(points: Callable[[Scene], Sequence[int]]) -> Callable[[Scene], list[int]]:
    """What calls need that score all pictures at some points each: points of each call."""

    def needs(scene: Scene) -> list[int]:
        return [
            size
            for each in points(scene)
            for size in batches(len(scene.x), each, scene.chunk)
        ]  # fmt: skip

    return needs
