"""Item 8 of the failure zoo: what Captum leaves behind, and ours does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from captum.attr import DeepLift, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import seeded

PEERS = (Saliency, InputXGradient, DeepLift, IntegratedGradients)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()


WAYS: tuple[Callable[[nn.Module, Tensor, int], object], ...] = (
    lambda net, x, t: bm.local_affine(net, x, t),
    lambda net, x, t: bm.BiasBackprop(net).attribute(x, t),
    lambda net, x, t: bm.InputXGradientPlusBias(net).explain(x, t),
    lambda net, x, t: bm.Gradient(net).explain(x, t),
)


@pytest.mark.parametrize("peer", PEERS[:3])
def test_8_requires_grad_after_a_bad_target(net: nn.Module, x: Tensor, peer: type) -> None:
    theirs = x.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((IndexError, AssertionError)):
            peer(net).attribute(theirs, target=7)
    assert theirs.requires_grad
    for way in WAYS:
        with pytest.raises(bm.InputError):
            way(net, x, 7)
        assert not x.requires_grad


@pytest.mark.parametrize("peer", PEERS)
def test_8_callers_in_inference_mode(net: nn.Module, x: Tensor, peer: type) -> None:
    wanted = bm.BiasBackprop(net).attribute(x, 1)
    with torch.inference_mode():
        fresh = x.clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(RuntimeError, match=r"does(n't| not) require grad"):
                peer(net).attribute(fresh, target=1)
        for way in WAYS:
            way(net, fresh, 1)
        torch.testing.assert_close(bm.BiasBackprop(net).attribute(fresh, 1), wanted)
        assert torch.is_inference_mode_enabled()


def test_8_statistics_of_a_model_in_training(net: nn.Module, x: Tensor) -> None:
    """Captum explains a model that changes as it looks; ours refuses, or evaluates if asked to."""
    wanted = bm.BiasBackprop(net).attribute(x, 1)
    norm = net.train()[1]
    before = (norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone())
    for way in WAYS[:3]:
        with pytest.raises(bm.TrainingModeError, match="eval"):
            way(net, x, 1)
    found = bm.BiasBackprop(net, eval_mode=True).attribute(x, 1)
    torch.testing.assert_close(found, wanted)
    after = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert net.training
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Saliency(net).attribute(x.clone(), target=1)
    assert not torch.equal(norm.running_mean, before[0])
