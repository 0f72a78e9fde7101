"""The experiment on ImageNet with a network that weighs nothing, on a few made-up pictures."""

from pathlib import Path

import pandas as pd
import pytest
from torch import nn

from biasmatters.config import build
from biasmatters.data.imagenet_classes import categories, wnids
from biasmatters.data.photograph import prepare_photograph, read_photograph
from biasmatters.models import zoo
from biasmatters.stages import Outcome, run_experiment
from tests.config.test_conf_files import composed
from tests.pictures import tiny

WRONG = ("n01440764", "n15075141")
PICTURES = 9


@pytest.fixture(scope="module", autouse=True)
def tiny_zoo():
    """EfficientNet-Lite0 by name only."""
    with pytest.MonkeyPatch.context() as patch:
        for room in (zoo, zoo.configured):
            patch.setattr(room, "describe", lambda name: tiny.card(name, categories()))
            patch.setattr(room, "load", lambda name: tiny.pretrained(name, categories()))
        patch.setattr("biasmatters.reporting.style.DPI", 30)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every three pictures, one lies where the network says."""
    made = tmp_path_factory.mktemp("imagenet")
    val, network = made / "pictures" / "val", tiny.network(1000)
    for seed in range(PICTURES):
        path = tiny.picture(made / f"{seed}.JPEG", seed)
        wnid = wnids()[said(network, path)] if seed % 3 == 0 else WRONG[seed % 3 - 1]
        (val / wnid).mkdir(parents=True, exist_ok=True)
        path.rename(val / wnid / path.name)
    (val / WRONG[0] / "9.JPEG").write_bytes(b"no picture")
    return made


def said(network: nn.Module, path: Path) -> int:
    pixels = prepare_photograph(
        read_photograph(path, smallest=27), 27, (tiny.SIDE, tiny.SIDE), "bilinear"
    )
    return int(network(tiny.as_input(pixels)).argmax())


def run(folder: Path) -> Outcome:
    return run_experiment(
        build(
            composed(
                "experiment=imagenet_methods",
                "scale=smoke",
                f"data.root={folder / 'pictures'}",
                f"data.cache={folder / 'cache'}",
                f"store={folder / 'store'}",
                f"reports={folder / 'reports'}",
                "trainer.accelerator=cpu",
            )
        )
    )


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    return run(folder)


def rows(outcome: Outcome) -> pd.DataFrame:
    return pd.DataFrame([vars(row) for row in outcome.results])


def test_the_table_has_the_parts_accuracies_and_every_methods_curves(outcome: Outcome) -> None:
    table = rows(outcome)
    assert set(table.model) == {"imagenet_efficientnet_lite0"}
    assert set(table.data) == {"imagenet"}
    assert set(table.normalization) == {"standard"}
    of_network = table[table.method == ""].set_index("metric")
    for part in ("all", "weight", "bias"):
        row = of_network.loc[f"bias_ablation/accuracy_{part}"]
        assert row.n == PICTURES
        assert 0 <= row.value <= 1
    methods = {"gradient", "input_x_gradient", "bbp", "input_x_gradient_plus_bbp", "random"}
    for metric in ("deletion", "insertion"):
        curve = table[table.metric == metric]
        assert set(curve.method) == methods
        assert set(curve.n) == {4}
        assert set(table[table.metric == f"{metric}_auc"].method) == methods


def test_accuracy_is_the_networks_own_on_the_pictures(outcome: Outcome) -> None:
    value = rows(outcome).set_index("metric").value["bias_ablation/accuracy_all"]
    assert value == pytest.approx(1 / 3)


def test_a_picture_that_cannot_be_read_is_left_out_with_a_note(outcome: Outcome) -> None:
    assert outcome.missing == {}
    assert "1 unreadable picture left out" in outcome.page.read_text(encoding="utf-8")


def test_no_network_is_trained(outcome: Outcome) -> None:
    stages = {entry.task.stage for entry in outcome.made}
    assert {"pretrained", "attribute", "score", "probe"} <= stages
    assert "train" not in stages


def test_a_second_run_makes_nothing(outcome: Outcome, folder: Path) -> None:
    again = run(folder)
    assert outcome.made
    assert not again.made
    assert again.results == outcome.results
