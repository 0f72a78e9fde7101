"""The offline W&B run, read back: configuration, figures, curves and pictures are in it."""

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from biasmatters.tracking import NoTracker, tracker
from biasmatters.types import Result
from tests.tracking.offline import records

SETTINGS = {"kind": "wandb", "mode": "offline", "project": "test", "entity": None}
CONFIG = {
    "name": "demo",
    "trainer": {"epochs": 3},
    "data": {"root": "/home/somebody/data", "cache": None, "validation": 5},
    "store": "/home/somebody/store",
}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


@dataclass
class Entry:
    folder: Path
    seconds: float = 1.5
    cached: bool = False


def result(metric: str, value: float, at: float | None = None) -> Result:
    return Result(
        experiment="demo",
        data="shapes",
        normalization="unit",
        model="mlp",
        bias=True,
        method="bbp",
        rule="uniform",
        metric=metric,
        seed=0,
        value=value,
        low=None,
        high=None,
        n=4,
        at=at,
        stage="score/x",
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished offline run."""
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t" * 7)
    stage = tmp_path / "store" / "train" / "shapes-0123456789ab"
    stage.mkdir(parents=True)
    (stage / "curves.csv").write_text("epoch,train_loss,validation_loss\n1,0.5,\n2,0.25,0.75\n")
    report = tmp_path / "reports" / "demo"
    (report / "figures").mkdir(parents=True)
    (report / "figures" / "sheet.png").write_bytes(PIXEL)
    (report / "index.html").write_text("<!doctype html><title>page</title>")
    rows = [result("deletion_auc", 0.125), result("deletion", 0.5, at=0.0)]
    with tracker({**SETTINGS, "folder": str(tmp_path / "runs")}, "demo", CONFIG) as mirror:
        mirror.stage(Entry(stage))
        mirror.report(report, rows)
    return next((tmp_path / "runs" / "wandb").glob("offline-run-*"))


def put(tree: dict[str, Any], item: Any) -> None:
    """Set a value whose key is a path."""
    *path, name = item.nested_key or [item.key]
    for part in path:
        tree = tree.setdefault(part, {})
    tree[name] = json.loads(item.value_json)


def read(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Configuration, summary and history of a run."""
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: dict[str, Any] = {}
    for record in records(log_of(run)):
        for tree, items in (
            (config, [*record.run.config.update, *record.config.update]),
            (summary, [*record.run.summary.update, *record.summary.update]),
            (history, record.history.item),
        ):
            for item in items:
                put(tree, item)
    return config, summary, history


def log_of(run: Path) -> Path:
    """The run's log, once W&B's own process has written its end."""
    (path,) = run.glob("*.wandb")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(record.WhichOneof("record_type") == "exit" for record in records(path)):
            return path
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def test_an_offline_run_holds_config_figures_curves_and_pictures(run: Path) -> None:
    config, summary, history = read(run)
    assert config["trainer"] == {"epochs": 3}
    assert config["data"] == {"validation": 5}
    assert summary["shapes/unit/bias/bbp/uniform/s0/deletion_auc"] == 0.125
    assert summary["mean/deletion_auc"] == 0.125
    assert summary["seconds/train/shapes-0123456789ab"] == 1.5
    assert not any(key.endswith("/deletion") for key in summary)
    curve = history["curves/shapes-0123456789ab"]
    assert json.loads((run / "files" / curve["path"]).read_text()) == {
        "columns": ["epoch", "train_loss", "validation_loss"],
        "data": [[1.0, 0.5, None], [2.0, 0.25, 0.75]],
    }
    picture = history["report/sheet"]
    assert (run / "files" / picture["path"]).read_bytes() == PIXEL
    page = run / "files" / history["report/index"]["path"]
    assert "page" in page.read_text()
    table = json.loads((run / "files" / history["results"]["path"]).read_text())
    assert [row[table["columns"].index("at")] for row in table["data"]] == [None, 0.0]


def test_neither_secrets_nor_folders_are_recorded(run: Path) -> None:
    log = log_of(run).read_bytes()
    texts = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    for secret in (b"s3cr3t", b"/home/somebody"):
        assert secret not in log
        assert not any(secret in text for text in texts)


def test_an_offline_run_asks_for_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with tracker({**SETTINGS, "folder": str(tmp_path)}, "demo", CONFIG):
        pass
    assert asked == []


def test_another_logger_or_no_wandb_is_a_no_op(tmp_path: Path, monkeypatch, caplog) -> None:
    with tracker({**SETTINGS, "kind": "csv"}, "demo", {}) as mirror:
        assert isinstance(mirror, NoTracker)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    module = "biasmatters.tracking.weights_and_biases"
    monkeypatch.delitem(__import__("sys").modules, module, raising=False)
    with tracker({**SETTINGS, "folder": str(tmp_path)}, "demo", {}) as mirror:
        mirror.stage(Entry(tmp_path))
    assert isinstance(mirror, NoTracker)
    assert "wandb is not installed" in caplog.text
