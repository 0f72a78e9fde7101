"""The store: complete or absent, remade when its inputs are, and clear about a full disk."""

import errno
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from biasmatters.stages.store import DONE, Entry, Store, StoreError
from biasmatters.stages.task import Task


@dataclass
class Note:
    """Writes a word and what it read."""

    word: str
    stage: str = "note"
    version: int = 1
    resumable: bool = False
    calls: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def slug(self) -> str:
        return f"say {self.word}!"

    def settings(self) -> dict[str, Any]:
        return {"word": self.word}

    def run(self, folder: Path, inputs: dict[str, Path]) -> None:
        self.calls.append(self.word)
        (folder / "half").write_text("half")
        if self.error is not None:
            raise self.error
        read = [(path / "word.txt").read_text() for path in inputs.values()]
        (folder / "word.txt").write_text(" ".join([*read, self.word]))


def make(store: Store, *tasks: Task) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for task in tasks:
        inputs = {role: entries[parent.digest] for role, parent in task.inputs.items()}
        entries[task.digest] = store.get(task, inputs)
    return entries


@pytest.fixture
def chain() -> list[Task]:
    first = Task(Note("a"), data="fingerprint")
    second = Task(Note("b"), {"before": first})
    return [first, second, Task(Note("c"), {"before": second})]


def test_a_result_is_made_once(tmp_path: Path, chain: list[Task]) -> None:
    store = Store(tmp_path / "store")
    assert [entry.cached for entry in make(store, *chain).values()] == [False] * 3
    again = make(store, *chain)
    assert [entry.cached for entry in again.values()] == [True] * 3
    assert (again[chain[2].digest].folder / "word.txt").read_text() == "a b c"
    assert [task.work.calls for task in chain] == [["a"], ["b"], ["c"]]


def test_deleting_a_folder_remakes_it_and_what_depends_on_it(
    tmp_path: Path, chain: list[Task]
) -> None:
    import shutil

    store = Store(tmp_path)
    make(store, *chain)
    shutil.rmtree(store.folder(chain[1]))
    assert [entry.cached for entry in make(store, *chain).values()] == [True, False, False]
    assert [entry.cached for entry in make(store, *chain).values()] == [True] * 3


def test_a_damaged_result_is_not_taken(tmp_path: Path, chain: list[Task]) -> None:
    store = Store(tmp_path)
    entry = make(store, chain[0])[chain[0].digest]
    (entry.folder / "word.txt").write_text("")
    assert store.find(chain[0], {}) is None
    (entry.folder / "word.txt").write_text("a")
    assert store.find(chain[0], {}) is not None
    (entry.folder / DONE).write_text('{"made": "x"')
    assert store.find(chain[0], {}) is None


def test_a_failed_stage_leaves_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    note = Note("a", error=KeyboardInterrupt())
    task = Task(note)
    with pytest.raises(KeyboardInterrupt):
        store.get(task, {})
    assert store.find(task, {}) is None
    assert not store.folder(task).exists()
    note.error = None
    assert not store.get(task, {}).cached


def test_only_a_resumable_stage_keeps_its_work_and_only_for_the_same_inputs(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    for resumable in (False, True):
        note = Note(f"r{resumable}", resumable=resumable, error=ValueError())
        task = Task(note)
        with pytest.raises(ValueError):
            store.get(task, {})
        work = store.folder(task).with_name(f".work-{task.key}")
        (work / "chunk").write_text("kept?")
        note.error = None
        entry = store.get(task, {})
        assert (entry.folder / "chunk").exists() is resumable
    parent, other = Task(Note("p")), Task(Note("q"))
    made = make(store, parent, other)
    child = Note("child", resumable=True, error=ValueError())
    with pytest.raises(ValueError):
        store.get(Task(child, {"in": parent}), {"in": made[parent.digest]})
    work = next((tmp_path / "note").glob(".work-*child*"))
    (work / "chunk").write_text("stale")
    child.error = None
    entry = store.get(Task(child, {"in": parent}), {"in": made[other.digest]})
    assert not (entry.folder / "chunk").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_said(tmp_path: Path, number: int) -> None:
    task = Task(Note("a", error=OSError(number, "the reason")))
    with pytest.raises(StoreError, match=r"the reason.*store=FOLDER"):
        Store(tmp_path).get(task, {})
    assert not Store(tmp_path).folder(task).exists()


def test_other_errors_of_the_system_are_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd") as caught:
        Store(tmp_path).get(Task(Note("a", error=OSError(errno.EIO, "odd"))), {})
    assert not isinstance(caught.value, StoreError)


def test_the_record_says_what_was_made_from_what(tmp_path: Path, chain: list[Task]) -> None:
    entries = make(Store(tmp_path), *chain)
    folder = entries[chain[1].digest].folder
    inputs = json.loads((folder / "inputs.json").read_text())
    assert inputs == {"before": f"note/{chain[0].key}@{entries[chain[0].digest].made}"}
    assert "word: b" in (folder / "config.yaml").read_text()


def test_a_cached_result_needs_no_writing(tmp_path: Path, chain: list[Task], monkeypatch) -> None:
    store = Store(tmp_path)
    make(store, *chain)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert all(entry.cached for entry in make(store, *chain).values())


def test_a_second_writer_waits_and_finds_the_result(tmp_path: Path) -> None:
    import threading
    import time

    class Slow(Note):
        def run(self, folder: Path, inputs: dict[str, Path]) -> None:
            time.sleep(0.3)
            super().run(folder, inputs)

    calls: list[str] = []
    found: list[Entry] = []

    def work() -> None:
        found.append(Store(tmp_path).get(Task(Slow("a", calls=calls)), {}))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["a"]
    assert sorted(entry.cached for entry in found) == [False, True]
