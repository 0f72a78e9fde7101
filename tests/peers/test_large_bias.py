"""Item 9 of the failure zoo: the bias that others leave out is larger than the output itself."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn

import biasmatters as bm
from benchmarks.calibrate import calibrate

NETS = (("resnet18", 32), ("densenet121", 32), ("googlenet", 32), ("inception_v3", 75))


def calibrated(name: str, side: int) -> tuple[nn.Module, Tensor]:
    """Random parameters, batch-norm with the statistics of noise, then disturbed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, weights=None, **extra).double().eval()
    calibrate(net, torch.randn(8, 3, side, side, dtype=torch.float64))
    return net, torch.randn(4, 3, side, side, dtype=torch.float64)


@pytest.mark.parametrize(("name", "side"), NETS)
def test_9_the_bias_can_be_larger_than_the_output(name: str, side: int) -> None:
    net, x = calibrated(name, side)
    target = [0, 1, 2, 3]
    form = bm.local_affine(net, x, target)
    assert form.certificate.passed
    assert form.certificate.verdict == "exact"
    assert int((form.bias.abs() > form.output.abs()).sum()) >= 3
    found = bm.BiasBackprop(net, "uniform").explain(x, target)
    assert found.complete
    torch.testing.assert_close(found.map.flatten(1).sum(1), form.bias, rtol=1e-8, atol=1e-8)
