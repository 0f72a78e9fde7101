"""On a GPU the maps, the split and its certificate are those of a processor in float64."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters import kernels
from biasmatters.kernels import without_kernels
from biasmatters.rules import RULES, Rule, SoftmaxAbs, SoftmaxNegAbs, SoftmaxSigned, make_rule
from biasmatters.types import Attribution
from tests.devices.networks import NETWORKS, network, pictures

TARGET = [0, 2, 1]
# In single precision a unit near its bend may fall on the other side of it.
CLOSE = {torch.float64: 1e-9, torch.float32: 2e-3}
Softmax = type[SoftmaxAbs] | type[SoftmaxNegAbs] | type[SoftmaxSigned]


def written_out(net: nn.Module, x: Tensor, rule: str | Rule) -> Attribution:
    """The reference: on a processor, by torch's operations."""
    with without_kernels():
        return bm.BiasBackprop(net, rule).explain(x, TARGET)


def distance(found: object, wanted: object) -> float:
    assert isinstance(found, Tensor)
    assert isinstance(wanted, Tensor)
    there = found.double().cpu()
    return float((there - wanted).norm() / wanted.norm())


@contextmanager
def tf32() -> Iterator[None]:
    """Products of float32 rounded, as many trainings have it."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_that_of_a_processor(
    gpu: torch.device, name: str, rule: str, dtype: torch.dtype
) -> None:
    net, x = network(name), pictures()
    wanted = written_out(net, x, rule)
    found = bm.BiasBackprop(net.to(gpu, dtype), rule).explain(x.to(gpu, dtype), TARGET)
    assert isinstance(found.map, Tensor)
    assert found.map.is_cuda
    assert found.map.dtype == dtype
    assert distance(found.map, wanted.map) <= CLOSE[dtype]
    assert found.complete
    assert found.certificate.verdict == wanted.certificate.verdict


@pytest.mark.parametrize("temperature", [1e-6, 0.02, 0.5, 50.0, 1e6])
@pytest.mark.parametrize("rule", [SoftmaxNegAbs, SoftmaxAbs, SoftmaxSigned])
@pytest.mark.parametrize("name", ["mixed", "wide"])
def test_at_any_temperature(
    gpu: torch.device, name: str, rule: Softmax, temperature: float
) -> None:
    net, x = network(name), pictures()
    exact = rule(temperature) if rule is SoftmaxSigned else rule(temperature, 0)
    wanted = written_out(net, x, exact)
    found = bm.BiasBackprop(net.to(gpu), rule(temperature)).explain(x.to(gpu), TARGET)
    assert distance(found.map, wanted.map) <= 1e-9
    assert found.complete


@pytest.mark.parametrize("name", NETWORKS)
def test_the_split_and_its_ledger(gpu: torch.device, name: str) -> None:
    net, x = network(name), pictures()
    with without_kernels():
        wanted = bm.local_affine(net, x, TARGET)
    found = bm.local_affine(net.to(gpu), x.to(gpu), TARGET)
    assert distance(found.weight, wanted.weight) <= 1e-9
    torch.testing.assert_close(found.bias.cpu(), wanted.bias, rtol=1e-9, atol=1e-9)
    there, here = found.ledger.to_pandas(), wanted.ledger.to_pandas()
    assert there.columns.tolist() == here.columns.tolist()
    assert len(there) == len(here)
    assert found.certificate.verdict == wanted.certificate.verdict


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_rounded_to_tf32(gpu: torch.device, rule: str) -> None:
    net, x = network("wide"), pictures()
    ours = copy.deepcopy(net).to(gpu, torch.float32)
    with tf32():
        found = bm.BiasBackprop(ours, rule).explain(x.to(gpu, torch.float32), TARGET)
        assert torch.backends.cudnn.allow_tf32  # the caller's choice stands
        assert torch.backends.cuda.matmul.allow_tf32
    assert found.complete
    assert distance(found.map, written_out(net, x, rule).map) <= CLOSE[torch.float32]


@pytest.mark.parametrize("rule", RULES)
def test_under_autocast(gpu: torch.device, rule: str) -> None:
    net, x = network("wide"), pictures()
    ours = copy.deepcopy(net).to(gpu, torch.float32)
    with torch.autocast("cuda", torch.bfloat16):
        found = bm.BiasBackprop(ours, rule).explain(x.to(gpu, torch.float32), TARGET)
    assert isinstance(found.map, Tensor)
    assert bool(found.map.isfinite().all())
    assert distance(found.map, written_out(net, x, rule).map) <= 0.2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["residual", "mixed", "wide"])
def test_channels_last(gpu: torch.device, name: str, rule: str) -> None:
    net, x = network(name), pictures()
    wanted = written_out(net, x, rule)
    last = x.to(gpu).contiguous(memory_format=torch.channels_last)
    ours = net.to(gpu).to(memory_format=torch.channels_last)
    found = bm.BiasBackprop(ours, rule).explain(last, TARGET)
    assert distance(found.map, wanted.map) <= 1e-9


@pytest.mark.parametrize("rule", RULES)
def test_layers_profile_and_diagnostics(gpu: torch.device, rule: str) -> None:
    net, x = network("mixed").to(gpu), pictures().to(gpu)
    bbp = bm.BiasBackprop(net, rule)
    layers = bbp.explain(x, TARGET, layers=True).layers
    assert all(bool(beta.isfinite().all()) and beta.is_cuda for beta in layers.values())
    assert all(cost.seconds > 0 for cost in bbp.explain(x, TARGET, profile=True).profile)
    assert bbp.explain(x, TARGET, diagnostics=True).diagnostics


@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
@pytest.mark.parametrize("rule", RULES)
def test_bias_without_any_input(gpu: torch.device, rule: str, fallback: str) -> None:
    """A black picture gives the first layer nothing to share by."""
    net, x = network("mixed"), torch.zeros_like(pictures())
    with without_kernels():
        wanted = bm.BiasBackprop(net, rule, fallback=fallback).explain(x, TARGET)  # type: ignore[arg-type]
    ours = bm.BiasBackprop(net.to(gpu), make_rule(rule), fallback=fallback)  # type: ignore[arg-type]
    found = ours.explain(x.to(gpu), TARGET)
    assert isinstance(found.map, Tensor)
    assert isinstance(wanted.map, Tensor)
    torch.testing.assert_close(found.map.cpu(), wanted.map, rtol=1e-8, atol=1e-10)
    masses = found.certificate.fallback_mass, wanted.certificate.fallback_mass
    torch.testing.assert_close(masses[0].cpu(), masses[1], rtol=1e-8, atol=1e-10)


def test_targets_on_either_device(gpu: torch.device) -> None:
    net, x = network("residual").to(gpu), pictures().to(gpu)
    bbp = bm.BiasBackprop(net, "uniform")
    there, here = (bbp.attribute(x, torch.tensor(TARGET, device=d)) for d in (gpu, "cpu"))
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-12)


def test_a_picture_on_the_wrong_device_is_an_error(gpu: torch.device) -> None:
    net, x = network("residual").to(gpu), pictures()
    with pytest.raises(RuntimeError, match=r"device|type"):
        bm.BiasBackprop(net, "uniform").attribute(x, TARGET)


@pytest.mark.parametrize("rule", RULES)
def test_on_a_gpu_that_is_not_the_current_one(gpu: torch.device, rule: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    net, x = network("wide"), pictures()
    wanted = written_out(net, x, rule)
    second = torch.device("cuda", 1)
    ours = net.to(second, torch.float32)
    found = bm.BiasBackprop(ours, rule).explain(x.to(second, torch.float32), TARGET)
    assert distance(found.map, wanted.map) <= CLOSE[torch.float32]


def test_the_kernels_run_on_it(gpu: torch.device) -> None:
    assert kernels.fit_on_gpu(torch.ones(3, device=gpu))


def test_nothing_stays_on_the_gpu(gpu: torch.device) -> None:
    net, x = network("wide").to(gpu), pictures().to(gpu)
    bbp = bm.BiasBackprop(net)
    held = []
    for _ in range(4):
        bbp.attribute(x, TARGET)
        gc.collect()
        torch.cuda.synchronize()
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2] == held[3]
