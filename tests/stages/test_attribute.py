"""What the stage says of maps that miss their total."""

from __future__ import annotations

import logging

import pytest
import torch

from biasmatters.stages.attribute import _tell_missed


def test_maps_that_miss_their_total_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    nan = torch.nan
    found = {
        "residual": torch.tensor([0.1, 2.0, 0.5, nan]),
        "tolerance": torch.tensor([0.2, 1.0, 0.1, nan]),
    }
    with caplog.at_level(logging.WARNING):
        _tell_missed(found, "lrp_gamma")
        _tell_missed({k: v[:1] for k, v in found.items()}, "fine")
    assert [r.getMessage() for r in caplog.records] == [
        "lrp_gamma: 2 of 4 maps miss their total, at worst by 2"
    ]
