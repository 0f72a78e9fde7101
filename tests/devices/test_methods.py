"""Baselines and metrics on a GPU: the same as on a processor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from biasmatters import baselines
from biasmatters.metrics.functional import bias_ablation, deletion, insertion
from biasmatters.types import Attributor, Fittable
from tests.baselines.test_every_method import FEW, NAMES, pictures, small_net

# Their random numbers are drawn on the device.
RANDOM = {"SmoothGrad", "VarGrad", "GradientShap", "Lime", "KernelShap", "Rise", "RandomMap"}
TARGET = [0, 2, 1]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Setting forward, backward hooks",
    "ignore::biasmatters.baselines.conservation.ConservationWarning",
)


def prepared(name: str, net: nn.Module, device: torch.device) -> Attributor:
    """A method, fitted where it needs that, on the device of its network."""
    method: Attributor = getattr(baselines, name)(net, **FEW.get(name, {}))
    if isinstance(method, Fittable):
        some = pictures(16).to(device, torch.float64)
        method.fit([some, some**2])
    return method


@pytest.mark.parametrize("name", NAMES)
def test_every_method(gpu: torch.device, name: str) -> None:
    net, x = small_net().double(), pictures().double()
    wanted = prepared(name, net, torch.device("cpu")).explain(x, TARGET)
    method = prepared(name, net.to(gpu), gpu)
    found = method.explain(x.to(gpu), TARGET)
    assert isinstance(found.map, Tensor)
    assert isinstance(wanted.map, Tensor)
    assert found.map.device.type == gpu.type
    assert found.map.shape == wanted.map.shape
    assert bool(found.map.isfinite().all())
    if name not in RANDOM:
        torch.testing.assert_close(found.map.cpu(), wanted.map, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("metric", [deletion, insertion])
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_curves(gpu: torch.device, metric: object, baseline: str) -> None:
    net, x = small_net().double(), pictures().double()
    maps = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(2))
    assert callable(metric)
    wanted = metric(net, x, maps, baseline=baseline, steps=9)
    found = metric(net.to(gpu), x.to(gpu), maps.to(gpu), baseline=baseline, steps=9)
    assert found.scores.device.type == gpu.type
    torch.testing.assert_close(found.scores.cpu(), wanted.scores, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.auc.cpu(), wanted.auc, rtol=1e-9, atol=1e-12)


def test_bias_ablation(gpu: torch.device) -> None:
    net, x = small_net().double(), pictures().double()
    wanted = bias_ablation(net, x)
    found = bias_ablation(net.to(gpu), x.to(gpu))
    for name, value in vars(wanted).items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(getattr(found, name).cpu(), value, rtol=1e-9, atol=1e-10)


def test_bias_ablation_is_not_rounded_to_tf32(gpu: torch.device) -> None:
    net, x = small_net(), pictures()
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.bias = None
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    parts = bias_ablation(net.to(gpu), x.to(gpu))
    torch.backends.cudnn.allow_tf32 = before
    assert float(parts.bias.abs().amax()) <= 1e-5 * float(parts.all.abs().amax())
