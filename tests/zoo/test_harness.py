"""The harness itself: what it calls complete is complete, and nothing a child does ends it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.fork import guarded
from benchmarks.results import Results
from benchmarks.zoo.catalogue import TIMM, catalogue, pick
from benchmarks.zoo.peers import PEERS, peer_figures
from benchmarks.zoo.results import COLUMNS, succeeded
from benchmarks.zoo.subject import Subject
from benchmarks.zoo.table import render


def subject_of(model: nn.Module) -> Subject:
    torch.manual_seed(0)
    model = model.double().eval()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    return Subject("torchvision/none", model, x, model(x).argmax(1), 0, 0)


def test_the_catalogue() -> None:
    names = catalogue()
    assert len(set(names)) == len(names) >= 80 + len(TIMM)
    assert len(TIMM) == 30
    assert pick(names, "resnet18") == ["torchvision/resnet18"]


def test_fullgrad_is_complete_where_its_modules_hold_all_bias() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(144, 5),
    )  # fmt: skip
    assert peer_figures(subject_of(net), "fullgrad")["outcome"] == "complete"


def test_fullgrad_misses_a_raw_shift() -> None:
    class Shifted(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for part in self:
                x = part(x)
            return x + 1.5

    net = Shifted(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    assert peer_figures(subject_of(net), "fullgrad")["outcome"] == "silently incomplete"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_may_raise_hang_or_crash() -> None:
    def fail() -> dict[str, str]:
        raise ValueError("no such thing\nat all")

    def hang() -> dict[str, str]:
        time.sleep(60)
        return {}

    def crash() -> dict[str, str]:
        os._exit(3)

    assert guarded(lambda: {"a": "b"}, 30, 1).value == {"a": "b"}
    assert guarded(fail, 30, 1).failure == "ValueError: no such thing"
    assert guarded(hang, 0.3, 1).failure == "timed out: 0 s"
    assert guarded(crash, 30, 1).failure == "crashed: exit code 3"


def test_results_are_kept_and_rendered(tmp_path: Path) -> None:
    passed = {f"{part}_passed": "True" for part in ("affine", "proportional", "uniform")}
    good = {"model": "timm/good", "parameters": "10", "connections": "20", **passed}
    good |= {"affine_verdict": "exact", "affine_residual": "1e-15", "fullgrad_outcome": "complete"}
    bad = {"model": "torchvision/bad", "failure": "timed out: 9 s"}
    results = Results(tmp_path / "zoo.csv", COLUMNS)
    results.append(good)
    results.append(bad)
    rows = results.read()
    assert [succeeded(row) for row in rows] == [True, False]
    assert set(rows[0]) == set(COLUMNS)
    text = render(rows, [("date", "today")])
    assert "1 of 2 models pass, 1 of them with the verdict exact." in text
    assert "**timed out: 9 s**" in text
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| timm")}
    assert widths == {text.split("\n| model |")[1].splitlines()[0].count(" | ") + 1}
    results.forget(lambda row: row["model"] == "torchvision/bad")
    assert [row["model"] for row in results.read()] == ["timm/good"]
    assert set(PEERS) == {"captum_lrp", "captum_deeplift", "zennit_epsilonplus", "fullgrad"}
