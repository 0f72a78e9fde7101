"""Measuring itself: memory, the floor, small cells from end to end, and going on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.load import Load, count_load
from benchmarks.results import Results
from benchmarks.speed.__main__ import main
from benchmarks.speed.attempt import attempt
from benchmarks.speed.cell import COLUMNS
from benchmarks.speed.floor import Demand, demand, floor_seconds
from benchmarks.speed.limits import Limits
from benchmarks.speed.methods import METHODS
from benchmarks.speed.models import MODELS, make_subject
from benchmarks.speed.photographs import photographs
from benchmarks.speed.rates import Rates, measure_rates
from benchmarks.speed.scaling import Shape, axis_rows, fit
from biasmatters.types import LayerCost

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


HOLDING = """
import torch
from biasmatters.training.memory import peak_bytes

def hold():
    torch.ones(48 << 18)
    torch.ones(80 << 18)

hold_little = torch.ones(4)
print(peak_bytes(hold, "cpu"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the high-water mark")
def test_the_memory_meter() -> None:
    """In a process of its own: what an allocator keeps for later depends on all that ran before."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", HOLDING], cwd=root, check=True, capture_output=True, text=True
    )
    assert 78 * MIB < int(done.stdout) < 90 * MIB


def test_the_load_of_a_forward_pass() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 5))
    load = count_load(net, torch.ones(7, 2, 4, 4))
    assert load == Load(18 * 12 + 60, 32 + 12, 54 + 60, 12 + 5)


def test_the_floor() -> None:
    layers = [
        LayerCost("a", "ConvMap", "expansion+direct", 1, {"expansion": 10, "direct": 4}, 1, 3, 0),
        LayerCost("b", "ConvMap", "direct", 1, {"direct": 6}, None, 0, 0),
    ]
    assert demand("softmax_abs", layers, 99) == Demand(60, 10)
    assert demand("softmax_signed", [], 99) == Demand(0, 99)
    assert demand("proportional", [], 99) == Demand(198, 0)
    load = Load(connections=50, inputs=3, weights=7, outputs=2)
    seconds = floor_seconds(Demand(200, 10), load, 2, 1.0, Rates(exponential=0.5, byte=0.25))
    assert seconds == pytest.approx(2 + 200 / 100 + 5 + (2 * 8 + 7) * 4 * 0.25)


def test_rates_are_of_the_order_of_nanoseconds() -> None:
    rates = measure_rates("cpu")
    assert 1e-11 < rates.byte < 1e-8
    assert 1e-11 < rates.exponential < 1e-6


def test_an_attempt_in_this_process() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert attempt(lambda: 3, 5).value == 3
    assert attempt(fail, 5).failure == "KeyError: 'x'"
    assert attempt(lambda: time.sleep(5), 0.05).failure == "timed out: 0 s"


def test_what_is_predicted_to_be_too_long() -> None:
    limits = Limits(budget=10)
    assert limits.forbids(METHODS["integrated_gradients"], 0.3, 0) == "over budget: predicted 15 s"
    direct = METHODS["softmax_neg_abs_direct"]
    assert limits.forbids(direct, 0, int(62e9)) == "over budget: predicted 20 s"
    assert not limits.forbids(METHODS["softmax_neg_abs"], 100, int(1e12))
    assert not limits.judges(9)
    assert limits.judges(11) == "over budget: the first call took 11 s"


def test_subjects() -> None:
    assert photographs(6, 16).shape == (6, 3, 16, 16)
    subject, again = make_subject("mnist_cnn", 3), make_subject("mnist_cnn", 3)
    assert subject.x.shape == (3, 1, 28, 28)
    assert torch.equal(subject.x, again.x)
    assert all(bool(p.any()) for p in subject.model.parameters())
    assert 0.1 < float(subject.forward().std()) < 10
    assert set(MODELS) >= {"vgg11", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"}


def test_from_end_to_end_and_going_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--quick", "--models", "mnist_cnn", "--rounds", "2", "--out", str(tmp_path)]
    few = [*command, "--methods", "gradient", "proportional"]
    assert main(few) == 0
    results = Results(tmp_path / "speed.csv", COLUMNS)
    first = results.read()
    assert [row["method"] for row in first] == ["gradient", "proportional"]
    for row in first:
        assert not row["failure"], row
        assert float(row["low"]) <= float(row["ratio"]) <= float(row["high"])
        assert row["rounds"] == "2"
        assert bool(row["memory_mib"]) == (sys.platform == "linux")
    assert float(first[1]["fraction"]) > 0
    assert "0 of 21 goals met" in capsys.readouterr().out
    assert (tmp_path / "speed.png").stat().st_size > 10_000

    assert main([*command, "--methods", "gradient", "uniform", "--no-memory"]) == 0
    second = results.read()
    assert second[:2] == first
    assert [row["method"] for row in second[2:]] == ["uniform"]
    assert "BBp uniform" in (tmp_path / "speed.md").read_text()

    assert main([*command, "--methods", "uniform", "--again"]) == 0
    third = results.read()
    assert third[:2] == first
    assert third[2] != second[2]


def test_what_takes_too_long_is_over_budget(tmp_path: Path) -> None:
    command = ["--quick", "--models", "mnist_cnn", "--rounds", "1", "--out", str(tmp_path)]
    assert main([*command, "--methods", "smoothgrad", "uniform", "--budget", "1e-4"]) == 0
    rows = Results(tmp_path / "speed.csv", COLUMNS).read()
    assert [row["failure"].partition(":")[0] for row in rows] == ["over budget"] * 2
    assert "over budget" in (tmp_path / "speed.md").read_text()


def test_an_axis() -> None:
    sizes = {n: Shape(batch=n, side=8, width=4, depth=1) for n in (1, 2)}
    rows = axis_rows(Limits(rounds=1), "batch", sizes)
    assert len(rows) == 6
    assert not any(row["failure"] for row in rows)
    assert fit(rows, "batch", "uniform") is not None


def test_a_results_file_takes_new_columns(tmp_path: Path) -> None:
    Results(tmp_path / "a.csv", ("x", "y")).append({"x": "1", "y": "2"})
    wider = Results(tmp_path / "a.csv", ("x", "z", "y"))
    wider.append({"x": "3", "z": "4"})
    assert wider.read() == [{"x": "1", "z": "", "y": "2"}, {"x": "3", "z": "4", "y": ""}]
    wider.forget(lambda row: row["x"] == "1")
    assert [row["x"] for row in wider.read()] == ["3"]
