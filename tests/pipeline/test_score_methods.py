"""Every metric of conf/metric/, convergence and retraining in one run at smoke scale."""

from pathlib import Path

import pandas as pd
import pytest

from biasmatters.config import build, conf_dir
from biasmatters.stages import Outcome, run_experiment
from biasmatters.stages.converge import NoDescentError
from biasmatters.stages.measure import MetricNeedsError
from tests.config.test_conf_files import composed

METRICS = sorted(path.stem for path in (conf_dir() / "metric").glob("*.yaml"))
OF_NETWORKS = {"bias_ablation", "bias_removal", "bias_removal_top", "bias_removal_bottom"}
QUICK = (
    "experiment=score_methods",
    "scale=smoke",
    "data=shapes",
    "data.sets.shapes.image_size=28",
    "data.sets.shapes.channels=1",
    "attribution=[gradient,bbp,random]",
    f"metric=[{','.join(METRICS)}]",
    "trainer.accelerator=cpu",
)
CONVERGENCE = ("convergence.images=2", "convergence.draws=3")


def run(folder: Path, *overrides: str) -> Outcome:
    places = (f"store={folder / 'store'}", f"reports={folder / 'reports'}")
    return run_experiment(build(composed(*QUICK, *places, *overrides)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("score")


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    return run(folder)


def rows(outcome: Outcome) -> pd.DataFrame:
    return pd.DataFrame([vars(row) for row in outcome.results])


def test_every_metric_has_its_rows_and_its_direction(outcome: Outcome) -> None:
    table = rows(outcome)
    plain = table.metric.str.partition("/")[0].str.removesuffix("_auc")
    assert set(METRICS) <= set(plain)
    of_networks = table[plain.isin(OF_NETWORKS)]
    assert set(of_networks.method) == {""}
    assert set(of_networks.n) == {60}
    asked_often = table[plain.isin({"mprt", "infidelity", "max_sensitivity", "irof"})]
    assert set(asked_often.n) == {4}
    better = table[table["at"].isna()].groupby("metric").better.first()
    assert better["deletion_auc"] == "low"
    assert better["insertion_auc"] == better["pointing_game"] == "high"
    assert better["mprt/ssim"] == "low"


def test_a_map_that_never_looks_at_the_network_fails_its_sanity_check(outcome: Outcome) -> None:
    table = rows(outcome)
    scores = table[table.metric == "mprt/spearman"].set_index("method").value
    assert scores["random"] == pytest.approx(1)
    assert scores["gradient"] < 0.9


def test_every_pair_of_methods_is_compared_on_the_pictures_they_share(outcome: Outcome) -> None:
    versus = pd.DataFrame([vars(row) for row in outcome.versus])
    assert set(versus.groupby("metric").size()) == {3}
    assert {"deletion_auc", "road_morf_auc", "pointing_game", "mprt/ssim"} <= set(versus.metric)
    assert not versus.metric.str.contains("sparseness|complexity").any()
    assert versus.p_value.between(0, 1).all()
    means = rows(outcome).set_index(["metric", "method"]).value
    first = versus[versus.metric == "deletion_auc"].iloc[0]
    gap = means["deletion_auc", first.first_method] - means["deletion_auc", first.second_method]
    assert first.difference == pytest.approx(gap)


def test_the_page_shows_what_was_found(outcome: Outcome) -> None:
    page = outcome.page.read_text(encoding="utf-8")
    for title in ("Other curves", "Which differences are real", "Randomised networks"):
        assert title in page
    assert "What the bias does" in page
    figures = {path.stem for path in (outcome.page.parent / "figures").glob("*.png")}
    assert {"panels-shapes-cnn-unit", "ranks-shapes-cnn-unit"} <= figures
    assert {"randomised-shapes-cnn-unit", "rank-shapes-cnn-unit-road_morf_auc"} <= figures
    assert (outcome.page.parent / "versus.csv").exists()


def test_convergence_and_retraining(folder: Path, outcome: Outcome) -> None:
    more = run(
        folder,
        "metric=[deletion]",
        "attribution=[gradient,bbp]",
        *CONVERGENCE,
        "roar.fractions=[0.2,0.8]",
        "roar.train_images=40",
        "roar.test_images=30",
    )
    table = rows(more)
    layers = table[table.metric.str.startswith("csc/head.3/") & (table.method == "bbp")]
    assert list(layers.metric.str.rpartition("/")[2])[-1] == "input"
    assert len(layers) == 4
    assert layers.value.between(-1e-9, 1).all()
    retrained = table[table.metric == "roar"]
    assert list(retrained[retrained.method == "bbp"]["at"]) == [0.2, 0.8]
    assert set(retrained.n) == {30}
    assert retrained.value.between(0, 1).all()
    figures = {path.stem for path in (more.page.parent / "figures").glob("*.png")}
    assert {"csc-shapes-cnn-unit-1", "csc-shapes-cnn-unit-2", "panels-shapes-cnn-unit"} <= figures
    assert {entry.task.stage for entry in more.made} >= {"converge", "roar", "rank"}
    assert "train" not in {entry.task.stage for entry in more.made}


def test_a_method_without_a_descent_is_named(folder: Path, outcome: Outcome) -> None:
    with pytest.raises(NoDescentError, match="random is no single pass backwards"):
        run(folder, "metric=[deletion]", "attribution=[random]", *CONVERGENCE)
    given = (*CONVERGENCE, "convergence.starts=[nowhere]")
    with pytest.raises(NoDescentError, match=r"there is no nowhere; this network has head\.3"):
        run(folder, "metric=[deletion]", "attribution=[gradient]", *given)


def test_what_a_metric_needs_and_no_one_has_is_named(folder: Path, outcome: Outcome) -> None:
    with pytest.raises(MetricNeedsError, match="the metric bias_removal needs target"):
        run(folder, "metric.bias_removal.needs=[model,x,labels,target]", "attribution=[gradient]")
