"""Buffers, caches and counters of a model are as they were, whether a call is accepted or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import biasmatters as bm
from tests.affine.nets import seeded

X = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def buffers(net: nn.Module) -> dict[str, Any]:
    return {name: b.tolist() for name, b in net.named_buffers()}


class Counting(nn.Module):
    """Changes its buffers in every way there is."""

    def __init__(self, fail: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.fail = fail
        self.calls = 0
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("state", torch.ones(1, 5))
        self.register_buffer("largest", torch.zeros(5))
        self.register_buffer("lazy", None)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.calls += 1
        out = self.layer(x) + self.state
        self.state.copy_(self.state * 0.5 + 1)
        self.largest = torch.maximum(self.largest, x.detach().abs().amax(0))
        self.lazy = torch.ones(5)
        self.register_buffer("extra", torch.ones(2))
        if self.fail:
            raise RuntimeError("in the middle")
        return out * self.state


@pytest.mark.parametrize("method", ["form", "map", "gradient", "failing"])
@pytest.mark.parametrize("closure", [False, True])
def test_buffers_are_as_before(method: str, closure: bool) -> None:
    net = seeded(Counting(fail=method == "failing"))
    before, held = buffers(net), dict(net._buffers)
    wanted = net.layer(X)[:, 0] * 1.5 + 1.5
    model = (lambda t: net(t)) if closure and method != "gradient" else net
    if method == "failing":
        with pytest.raises(RuntimeError, match="in the middle"):
            bm.local_affine(model, X, 0)
    elif method == "gradient":
        bm.Gradient(model).explain(X, 0)
    elif method == "map":
        for rule in bm.RULES:
            assert bm.BiasBackprop(model, rule).explain(X, 0).complete
    else:
        form = bm.local_affine(model, X, 0)
        assert form.certificate.passed
        torch.testing.assert_close(form.output, wanted.detach())
    assert buffers(net) == before
    assert list(net._buffers) == list(held)
    assert all(net._buffers[key] is held[key] for key in held)
    assert net.calls == 0


class OwnNorm(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, x: Tensor) -> None:
        pass


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d, OwnNorm, lambda n: nn.InstanceNorm1d(n, track_running_stats=True)]
)
@pytest.mark.parametrize("closure", [False, True])
def test_a_norm_in_training_is_refused_before_it_counts(norm: Any, closure: bool) -> None:
    net = nn.Sequential(nn.Linear(5, 5), norm(5)).double().train()
    before = buffers(net)
    with pytest.raises(bm.TrainingModeError, match="training mode"):
        bm.local_affine((lambda t: net(t)) if closure else net, X, 0)
    assert buffers(net) == before


def test_running_statistics_of_a_functional_instance_norm() -> None:
    mean, var = torch.zeros(5).double(), torch.ones(5).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    with pytest.raises(bm.TrainingModeError, match="instance_norm"):
        bm.local_affine(lambda t: F.instance_norm(t, mean, var).flatten(1), x, 0)
    assert mean.tolist() == [0] * 5


def test_spectral_norm_in_training_keeps_its_vectors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 5), parametrizations.spectral_norm(nn.Linear(5, 3))).double()
    before = buffers(net)
    assert bm.local_affine(net.train(), X, 0).certificate.passed
    assert buffers(net) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda t: torch.feature_dropout(t[:, :, None], 0.5, True)[..., 0],
        lambda t: torch.feature_alpha_dropout(t[:, :, None], 0.5, train=True)[..., 0],
        lambda t: torch.alpha_dropout(t, 0.5, True),
        lambda t: torch.dropout(t, 0.5, train=True),
        lambda t: torch.dropout_(t * 1, 0.5, True),
        lambda t: F.dropout2d(t[:, :, None, None])[..., 0, 0],
    ],
)
def test_dropouts_in_training_are_refused_before_they_draw(call: Any) -> None:
    state = torch.get_rng_state()
    with pytest.raises(bm.TrainingModeError, match="dropout"):
        bm.local_affine(call, X, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropouts_in_evaluation_are_the_identity() -> None:
    form = bm.local_affine(lambda t: torch.feature_dropout(t[:, :, None], 0.5, False)[..., 0], X, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "exact"


class Cache(nn.Module):
    """Computes something of a parameter once and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(5).double())
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.scale.exp()
        return x * self.kept


def test_what_a_model_makes_of_its_parameters_still_trains() -> None:
    net = Cache().eval()
    assert bm.local_affine(net, X, 0).certificate.passed
    net(X).sum().backward()
    assert net.scale.grad is not None
    torch.testing.assert_close(net.scale.grad, X.sum(0))


def test_cached_parametrizations_still_train() -> None:
    net = parametrizations.weight_norm(nn.Linear(5, 3).double()).eval()
    with parametrize.cached():
        assert bm.local_affine(net, X, 0).certificate.passed
        assert net.weight.requires_grad
        net(X).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_the_older_weight_norm_still_trains() -> None:
    net = torch.nn.utils.weight_norm(nn.Linear(5, 3).double()).eval()
    assert bm.local_affine(net, X, 0).certificate.passed
    assert net.weight.requires_grad
