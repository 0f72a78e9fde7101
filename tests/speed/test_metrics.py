"""The benchmark of the metrics: its unit is what they need, and its page a function of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics.cases import CASES, LIMIT
from benchmarks.metrics.document import render, verdict
from benchmarks.metrics.measure import COLUMNS, memory_name, scaled
from benchmarks.metrics.scenes import SIZES, Scene, batches, make_scene
from benchmarks.results import Row
from biasmatters.metrics.functional import deletion


class Recorder(nn.Module):
    """Notes the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return x.flatten(1)[:, :10]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("pictures", [1, 7, 64, 130])
@pytest.mark.parametrize("chunk", [1, 16, 100])
def test_the_unit_is_batched_as_the_metric_is(pictures: int, chunk: int) -> None:
    model, generator = Recorder(), torch.Generator().manual_seed(0)
    x = torch.randn(pictures, 1, 6, 6, generator=generator)
    deletion(model, x, x, steps=12, chunk_size=chunk)
    assert model.sizes == batches(pictures, 13, chunk)


def recorded(scene: Scene) -> Scene:
    return Scene(Recorder(), scene.x, scene.maps, scene.target, scene.steps, scene.pool)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.counted and "Quantus" not in c.name], ids=lambda c: c.name
)
def test_a_case_needs_what_it_runs(case: Any) -> None:
    scene = recorded(make_scene(case.scene, quick=True))
    case.work(scene)()
    model: Any = scene.model
    assert sorted(model.sizes) == sorted(case.needs(scene))
    ran = len(model.sizes)
    scene.forward(case.needs(scene))
    assert model.sizes[ran:] == case.needs(scene)


def test_scenes_are_the_same_at_every_call() -> None:
    first, second = (make_scene("CNN", quick=True) for _ in range(2))
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.model(first.x), second.model(second.x))
    assert not first.model.training
    assert {case.scene for case in CASES} <= set(SIZES)
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_part_of_the_batches_stands_for_all() -> None:
    assert scaled([4, 4, 2], 1) == ([4, 4, 2], 1.0)
    assert scaled([8] * 10 + [4] * 10, 10) == ([8, 4], 10.0)


def rows(ratio: float) -> list[Row]:
    start = dict.fromkeys(COLUMNS, "")
    shape = {"scene": "ResNet-18", "pictures": "64", "steps": "32"}
    times = {"passes": "4224", "rounds": "5", "seconds": "3.21", "forward_seconds": "3"}
    return [
        start | shape | times
        | {"case": "deletion and insertion", "ratio": str(ratio), "low": "1", "high": "1.3"},
        start | shape | {"case": "pixel flipping, Quantus", "failure": "KeyError: a|b"},
        start | {"case": memory_name(), "pictures": "512", "steps": "8", "memory_mib": "28.6"},
    ]  # fmt: skip


@pytest.mark.parametrize(("ratio", "word"), [(LIMIT, "met"), (LIMIT + 0.01, "**NOT met**")])
def test_the_page(ratio: float, word: str) -> None:
    assert verdict(rows(ratio)[0]) == f"ratio at most 1.15: {word}"
    text = render(rows(ratio), [("date", "today")])
    assert "- date: today" in text
    assert f"| ResNet-18 | 64 | 32 | 4224 | 3.21 | 3 | {ratio:.3g} (1–1.3) |" in text  # noqa: RUF001
    assert "| 512 | 8 | 28.6 |" in text
    assert "- pixel flipping, Quantus: KeyError: a\\|b" in text
    for block in (block for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
