"""Item 5 of the failure zoo: Zennit's EpsilonPlus on networks with biases, DenseNet and ViT.

Relevance 1 at a logit should arrive at the input as 1. What is missing or too much is what the
biases took or gave, which `zero_params="bias"` forbids; ours attributes it.
"""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus

import biasmatters as bm
from tests.affine.nets import seeded


def zennit_sums(net: nn.Module, x: Tensor, composite: EpsilonPlus) -> Tensor:
    """What arrives at the input of a relevance of 1 at logit 0, ``(N,)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Gradient(model=net, composite=composite) as attributor:
            _, found = attributor(
                x.clone(), lambda out: torch.eye(out.shape[1])[[0]].to(out) + 0 * out
            )
    return found.detach().flatten(1).sum(1)


def assert_ours_complete(net: nn.Module, x: Tensor, verdict: str) -> bm.LocalAffine:
    form = bm.local_affine(net, x, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == verdict
    for rule in ("proportional", "uniform", "softmax_neg_abs"):
        found = bm.BiasBackprop(net, rule).explain(x, 0)
        assert found.complete
        whole = (form.weight * x + found.map).flatten(1).sum(1)
        torch.testing.assert_close(whole, form.output, rtol=1e-9, atol=1e-9)
    return form


def test_5_epsilon_plus_is_incomplete_by_the_biases() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 3),
    ))  # fmt: skip
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    form = assert_ours_complete(net, x, "exact")
    assert float(form.bias.abs().min()) > 1e-2
    with_biases = zennit_sums(net, x, EpsilonPlus())
    assert float((with_biases - 1).abs().max()) > 0.2
    without = zennit_sums(net, x, EpsilonPlus(zero_params="bias"))
    torch.testing.assert_close(without, torch.ones(4).double(), rtol=1e-4, atol=1e-4)


def test_5_densenet_with_merged_batch_norm() -> None:
    """Its concatenations stand between convolution and batch-norm; Zennit merges them anyway."""
    torch.manual_seed(0)
    net = torchvision.models.densenet121()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.1)
            part.running_mean.normal_(0, 0.1)
    net, x = net.double().eval(), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    assert_ours_complete(net, x, "exact")
    with pytest.raises(RuntimeError, match="size of tensor"):
        zennit_sums(net, x, EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]))


def test_5_vision_transformer() -> None:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 24, num_classes=5)
    net, x = seeded(net, 0.2), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert_ours_complete(net, x, "first-order")
    with pytest.raises(RuntimeError, match="hook 'backward' has returned"):
        zennit_sums(net, x, EpsilonPlus())
