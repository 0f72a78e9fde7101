"""A key depends on everything that a result depends on, and on nothing else."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from biasmatters.stages.task import Task


@dataclass(frozen=True)
class Stub:
    name: str = "slug / with: odd*names"
    values: dict[str, Any] = field(default_factory=dict)
    stage: str = "stub"
    version: int = 1
    resumable: bool = False

    def slug(self) -> str:
        return self.name

    def settings(self) -> dict[str, Any]:
        return self.values

    def run(self, folder: Path, inputs: dict[str, Path]) -> None:
        raise NotImplementedError


def test_the_key_changes_with_each_ingredient() -> None:
    base = Stub(values={"a": 1})
    tasks = [
        Task(base),
        Task(replace(base, values={"a": 2})),
        Task(replace(base, version=2)),
        Task(replace(base, stage="other")),
        Task(base, data="x"),
        Task(base, {"role": Task(base)}),
        Task(base, {"other": Task(base)}),
        Task(base, {"role": Task(base, data="x")}),
    ]
    assert len({task.digest for task in tasks}) == len(tasks)


def test_the_key_ignores_the_slug_and_the_order_of_settings() -> None:
    assert Task(Stub("a")).digest == Task(Stub("b")).digest
    first = Task(Stub(values={"a": 1, "b": 2})).digest
    assert first == Task(Stub(values={"b": 2, "a": 1})).digest


def test_the_folder_name_is_safe_and_carries_no_time() -> None:
    task = Task(Stub())
    assert task.key == f"slug-with-odd-names-{task.digest[:12]}"


def test_ancestors_come_first_and_once() -> None:
    root = Task(Stub("root"), data="0")
    left, right = Task(Stub("l", {"l": 1}), {"in": root}), Task(Stub("r", {"r": 1}), {"in": root})
    last = Task(Stub("last"), {"a": left, "b": right})
    assert [task.work.slug() for task in last.ancestors()] == ["root", "l", "r", "last"]
