"""Training, explaining and scoring on a GPU, from the same configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from biasmatters.config import build
from biasmatters.stages import run_experiment
from tests.config.test_conf_files import composed

GPU = (
    "experiment=reproduce_paper",
    "scale=smoke",
    "data=shapes",
    "data.sets.shapes.image_size=16",
    "data.normalizations=[unit]",
    "data.explained=[unit]",
    "attribution=[gradient,bbp]",
    "rule=[proportional,softmax_neg_abs]",
    "metric=[deletion,insertion]",
    "trainer.accelerator=gpu",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_pipeline(gpu: torch.device, tmp_path: Path) -> None:
    places = (f"store={tmp_path / 'store'}", f"reports={tmp_path / 'reports'}")
    outcome = run_experiment(build(composed(*GPU, *places)))
    assert outcome.page.exists()
    found = {row.metric for row in outcome.results}
    assert {"accuracy_all", "accuracy_bias", "deletion", "insertion"} <= found
    curves = [row.value for row in outcome.results if row.metric == "deletion"]
    assert curves
    assert all(0 <= value <= 1 for value in curves)
