"""Every method of conf/attribution/ in one run at smoke scale."""

from pathlib import Path

import pandas as pd
import pytest

from biasmatters.config import build, conf_dir
from biasmatters.stages import Outcome, run_experiment
from tests.config.test_conf_files import composed

QUICK = (
    "experiment=compare_methods",
    "scale=smoke",
    "data=shapes",
    "data.sets.shapes.image_size=16",
    "model=cnn",
    "scale.compared_images=4",
    "scale.sheet_images=2",
    "trainer.accelerator=cpu",
)
METHODS = sorted(path.stem for path in (conf_dir() / "attribution").glob("*.yaml"))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("compare")
    spec = build(composed(*QUICK, f"store={folder / 'store'}", f"reports={folder / 'reports'}"))
    return run_experiment(spec)


pytestmark = pytest.mark.filterwarnings(
    # Of Captum's DeepLift.
    "ignore:max_unpooling2d_forward_out does not have a deterministic",
    # A network of one epoch on 200 pictures hardly reacts to its superpixels.
    "ignore:Objective did not converge",
)


def test_every_method_has_its_row(outcome: Outcome) -> None:
    table = pd.DataFrame([vars(row) for row in outcome.results])
    assert sorted(table.method.unique()) == METHODS
    for metric in ("seconds_per_image", "forward_passes", "memory"):
        assert sorted(table[table.metric == metric].method) == METHODS
    assert not table.metric.str.startswith("accuracy").any()


def test_what_promises_a_total_reaches_it(outcome: Outcome) -> None:
    table = pd.DataFrame([vars(row) for row in outcome.results])
    worst = table[table.metric == "completeness_residual"].set_index("method").value
    exact = ["bbp", "input_x_gradient_plus_bbp", "lrp_zero", "deeplift_revealcancel"]
    assert worst[exact].max() < 1e-4
    promised = {"integrated_gradients", "deeplift_rescale", "lrp_epsilon", "lrp_zplus"}
    assert promised <= set(worst.index)
    assert not {"gradient", "guided_backprop", "random"} & set(worst.index)


def test_all_maps_are_on_one_sheet_and_no_table_1(outcome: Outcome) -> None:
    page = outcome.page.read_text(encoding="utf-8")
    assert [p.name for p in (Path(outcome.page).parent / "figures").glob("*.png")] == [
        "sheet-1.png"
    ]
    assert "Table 1: what the bias knows" not in page
    for name in ("RectGrad", "PatternAttribution", "KernelSHAP", "LRP-ε + BBp"):
        assert name in page
