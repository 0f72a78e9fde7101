"""The whole pipeline at smoke scale: twice, after deletions, without data, after a kill."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from biasmatters.config import build
from biasmatters.stages import Outcome, run_experiment
from biasmatters.stages.spec import ExperimentSpec
from tests.config.test_conf_files import composed

QUICK = (
    "experiment=reproduce_paper",
    "scale=smoke",
    "data=shapes",
    "data.sets.shapes.image_size=16",
    "data.normalizations=[unit,standard]",
    "data.explained=[unit]",
    "attribution=[gradient,bbp,input_x_gradient_plus_bbp]",
    "rule=[proportional,softmax_neg_abs]",
    "metric=[deletion,insertion]",
    "trainer.accelerator=cpu",
)


COSTS = ["seconds_per_image", "forward_passes", "memory"]


def spec_in(folder: Path, *overrides: str) -> ExperimentSpec:
    places = (f"store={folder / 'store'}", f"reports={folder / 'reports'}")
    return build(composed(*QUICK, *places, *overrides))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("pipeline")
    return folder, run_experiment(spec_in(folder))


def names(outcome: Outcome, stage: str) -> list[str]:
    return [entry.task.key for entry in outcome.made if entry.task.stage == stage]


def values(outcome: Outcome) -> pd.DataFrame:
    """All figures but times and memory, which differ from run to run."""
    table = pd.DataFrame([vars(row) for row in outcome.results])
    return table[~table.metric.isin(COSTS)].reset_index(drop=True)


def test_the_report_holds_table_1_curves_and_pictures(first: tuple[Path, Outcome]) -> None:
    folder, outcome = first
    assert outcome.page == folder / "reports" / "reproduce_paper" / "index.html"
    page = outcome.page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "<script src" not in page
    table = values(outcome)
    network = table[table.method == ""]
    for normalization in ("unit", "standard"):
        here = network[network.normalization == normalization]
        with_bias = set(here[here.bias].metric)
        assert with_bias == {"accuracy_all", "accuracy_weight", "accuracy_bias"}
        assert set(here[~here.bias].metric) == {"accuracy_all"}
    assert network.value.between(0, 1).all()
    assert (network.n == 60).all()
    assert set(table[table.method != ""].normalization) == {"unit"}
    curves = table[table.metric == "deletion"]
    assert len(curves) == 5 * 5
    assert sorted(curves["at"].unique()) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert (table.low.dropna() <= table.value[table.low.notna()] + 1e-9).all()
    assert (folder / "reports" / "reproduce_paper" / "results.csv").exists()
    assert list((folder / "reports" / "reproduce_paper" / "figures").glob("*.png"))


def test_bias_maps_are_complete_and_their_cost_is_known(first: tuple[Path, Outcome]) -> None:
    table = pd.DataFrame([vars(row) for row in first[1].results])
    residual = table[table.metric == "completeness_residual"]
    assert sorted(residual.method.unique()) == ["bbp", "input_x_gradient_plus_bbp"]
    assert (residual.value <= 1e-4).all()
    assert (table[table.metric == "forward_passes"].value > 0).all()
    assert len(table[table.metric == "seconds_per_image"]) == 5
    assert any(metric.startswith("row_entropy") for metric in table.metric)


def test_a_second_run_makes_nothing(first: tuple[Path, Outcome]) -> None:
    folder, outcome = first
    stamp = outcome.page.stat().st_mtime_ns
    again = run_experiment(spec_in(folder))
    assert again.made == ()
    assert again.results == outcome.results
    assert again.page.stat().st_mtime_ns == stamp


def test_a_deleted_stage_is_remade_with_what_depends_on_it(first: tuple[Path, Outcome]) -> None:
    folder, outcome = first
    expected = values(outcome)
    victim = next(
        entry
        for entry in outcome.entries
        if entry.task.stage == "attribute" and "bbp-proportional" in entry.task.key
    )
    shutil.rmtree(victim.folder)
    again = run_experiment(spec_in(folder))
    assert [entry.task.stage for entry in again.made] == [
        "attribute", "score", "compare", "rank", "report",
    ]  # fmt: skip
    assert names(again, "attribute") == [victim.task.key]
    pd.testing.assert_frame_equal(values(again), expected)


def test_a_deleted_training_remakes_its_descendants_with_the_same_numbers(
    first: tuple[Path, Outcome],
) -> None:
    folder, outcome = first
    expected = values(outcome)
    victim = next(e for e in outcome.entries if "standard" in e.task.key and "-bias" in e.task.key)
    shutil.rmtree(victim.folder)
    again = run_experiment(spec_in(folder))
    assert [e.task.stage for e in again.made] == ["train", "ablate", "compare", "report"]
    pd.testing.assert_frame_equal(values(again), expected)


def test_a_changed_metric_retrains_nothing(first: tuple[Path, Outcome]) -> None:
    folder, _ = first
    again = run_experiment(spec_in(folder, "metric=[deletion]"))
    assert {e.task.stage for e in again.made} == {"score", "compare", "rank", "report"}


def test_missing_data_is_a_row_and_the_rest_goes_on(tmp_path: Path, caplog) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    overrides = (
        "data=[shapes,imagefolder]",
        f"data.root={empty}",
        "attribution=[gradient]",
        "data.normalizations=[unit]",
    )
    with caplog.at_level(logging.WARNING):
        outcome = run_experiment(spec_in(tmp_path, *overrides))
    assert list(outcome.missing) == ["imagefolder"]
    assert {row.data for row in outcome.results} == {"shapes"}
    assert "not run: data not available" in caplog.text
    assert "not run: data not available" in outcome.page.read_text(encoding="utf-8")


def test_without_any_data_there_is_still_a_report(tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    words = [word for word in QUICK if "shapes" not in word]
    places = (f"store={tmp_path / 'store'}", f"reports={tmp_path / 'reports'}")
    outcome = run_experiment(
        build(composed(*words, "data=imagefolder", f"data.root={empty}", *places))
    )
    assert outcome.results == ()
    assert "not run: data not available" in outcome.page.read_text(encoding="utf-8")


def command(folder: Path, *more: str) -> list[str]:
    places = (f"store={folder / 'store'}", f"reports={folder / 'reports'}")
    quick = [word for word in QUICK if not word.startswith("data.normalizations")]
    return [
        sys.executable,
        "-c",
        "import sys; from biasmatters.cli import main; sys.exit(main())",
        *quick,
        "data.normalizations=[unit]",
        *places,
        f"hydra.run.dir={folder / 'runs'}",
        *more,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "attribute", "score"])
def test_kill_9_in_a_stage_then_again_gives_the_same_numbers(tmp_path: Path, stage: str) -> None:
    more = ("scale.epochs=6", "scale.images=40", "trainer.chunk=4", "scale.steps=14")
    expected = run_experiment(spec_in(tmp_path / "whole", *more, "data.normalizations=[unit]"))
    killed = tmp_path / "killed"
    child = subprocess.Popen(
        command(killed, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((killed / "store" / stage).glob(".work-*")):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (killed / "reports").exists()
    again = subprocess.run(command(killed, *more), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    outcome = run_experiment(spec_in(killed, *more, "data.normalizations=[unit]"))
    assert outcome.made == ()
    pd.testing.assert_frame_equal(values(outcome), values(expected))


@pytest.mark.slow
def test_the_last_line_is_the_report_and_the_exit_code_tells(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip().splitlines()[-1])
    assert page == tmp_path / "reports" / "reproduce_paper" / "index.html"
    assert page.exists()
    empty = tmp_path / "nothing"
    empty.mkdir()
    missing = subprocess.run(
        command(tmp_path, "data=[shapes,imagefolder]", f"data.root={empty}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 3, missing.stderr
    assert "not run: data not available: imagefolder" in missing.stderr


@pytest.mark.slow
def test_a_multirun_publishes_each_job_and_all_together(tmp_path: Path) -> None:
    more = (
        "experiment=ablate_rule_temperature",
        "rule=softmax_abs,softmax_signed",
        "bbp.temperature=0.5,2",
        "attribution=bbp",
        f"hydra.sweep.dir={tmp_path / 'runs'}",
    )
    own = ("experiment=reproduce", "rule=[", "attribution=[")
    words = [word for word in command(tmp_path, *more) if not word.startswith(own)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "reports" / "ablate_rule_temperature"
    assert len(list(folder.glob("*rule=*"))) == 4
    table = pd.read_csv(folder / "all" / "results.csv")
    assert sorted(table.rule.dropna().unique()) == [
        "softmax_abs T=0.5",
        "softmax_abs T=2",
        "softmax_signed T=0.5",
        "softmax_signed T=2",
    ]
    assert len(list((tmp_path / "store" / "train").glob("[!.]*"))) == 2
