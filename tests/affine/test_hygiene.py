"""The user's model and tensors come back as they went in, also after an exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks

import biasmatters as bm
from tests.affine.nets import Residual, seeded


def state_of(net: nn.Module, x: Tensor) -> dict[str, Any]:
    return {
        "training": [m.training for m in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad for p in net.parameters()],
        "versions": [t._version for t in (*net.parameters(), *net.buffers(), x)],
        "values": [t.clone().tolist() for t in (*net.parameters(), *net.buffers(), x)],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "global_hooks": len(hooks._global_forward_hooks) + len(hooks._global_forward_pre_hooks),
        "rng": torch.get_rng_state().tolist(),
        "x": (x.requires_grad, x.grad, x.is_leaf),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    made = seeded(Residual())
    made.first.weight.requires_grad_(False)
    return made


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 2, 6, 6, dtype=torch.float64)


def test_everything_is_as_before(net: nn.Module, x: Tensor) -> None:
    before = state_of(net, x)
    bm.local_affine(net, x, 0)
    bm.BiasBackprop(net).explain(x, 0)
    bm.Gradient(net).explain(x, 0)
    assert state_of(net, x) == before


@pytest.mark.parametrize("where", ["target", "forward", "walk"])
def test_everything_is_as_before_after_an_exception(
    net: nn.Module, x: Tensor, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("in the middle")

    before = state_of(net, x)
    bbp = bm.BiasBackprop(net)
    if where == "forward":
        monkeypatch.setattr(net.head, "forward", fail)
    if where == "walk":
        monkeypatch.setattr(type(bbp.rule), "split", fail)
    with pytest.raises((RuntimeError, bm.InputError)):
        bbp.explain(x, 99 if where == "target" else 0)
    monkeypatch.undo()
    assert state_of(net, x) == before
    assert bm.local_affine(net, x, 0).certificate.passed


def test_eval_mode_is_restored_module_by_module(net: nn.Module, x: Tensor) -> None:
    net.train()
    net.norm.eval()
    before = state_of(net, x)
    with pytest.raises(bm.TrainingModeError, match="drop"):
        bm.local_affine(net, x, 0)
    assert bm.local_affine(net, x, 0, eval_mode=True).certificate.passed
    assert state_of(net, x) == before


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_callers_without_grad(net: nn.Module, x: Tensor, context: Any) -> None:
    wanted = bm.BiasBackprop(net, "uniform").explain(x, 1).map
    with context():
        fresh = x.clone()
        form = bm.local_affine(net, fresh, 1)
        found = bm.BiasBackprop(net, "uniform").attribute(fresh, 1)
    assert form.certificate.passed
    torch.testing.assert_close(found, wanted)


def test_a_model_that_switches_grad_off_itself(net: nn.Module, x: Tensor) -> None:
    @torch.no_grad()
    def quiet(t: Tensor) -> Tensor:
        return net(t)

    torch.testing.assert_close(
        bm.local_affine(quiet, x, 1).weight, bm.local_affine(net, x, 1).weight
    )


@pytest.mark.parametrize(
    "target",
    [[0, 2], (0, 2), np.array([0, 2]), torch.tensor([0, 2]), lambda out: out[[0, 1], [0, 2]]],
)
def test_forms_of_target(net: nn.Module, x: Tensor, target: Any) -> None:
    wanted = torch.stack([net(x)[0, 0], net(x)[1, 2]]).detach()
    torch.testing.assert_close(bm.local_affine(net, x, target).output, wanted)
    assert bm.BiasBackprop(net, "uniform").explain(x, target).complete


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "out of range"),
        (-4, "out of range"),
        ([0, 1, 2], "targets of shape"),
        (0.5, "class index"),
        ([[0, 1]], "targets of shape"),
    ],
)
def test_bad_targets(net: nn.Module, x: Tensor, target: Any, message: str) -> None:
    with pytest.raises(bm.InputError, match=message):
        bm.local_affine(net, x, target)


def test_bad_inputs(net: nn.Module, x: Tensor) -> None:
    with pytest.raises(bm.InputError, match=r"dtype torch\.int64"):
        bm.local_affine(net, torch.zeros(2, 2, 6, 6, dtype=torch.int64), 0)
    broken = x.clone()
    broken[1, 0, 0, 0] = torch.nan
    with pytest.raises(bm.InputError, match="sample index 1"):
        bm.local_affine(net, broken, 0)
    with pytest.raises(bm.InputError, match="output is not finite at sample index 0"):
        bm.local_affine(lambda t: t.sum((2, 3)) / 0, x.abs() + 1, 0)
    with pytest.raises(bm.InputError, match="output="):
        bm.local_affine(lambda t: (net(t), t), x, 0)


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        return t * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda h: F.dropout(h, 0.5), "dropout"),
        (lambda h: h + torch.randn_like(h), "randn_like"),
        (lambda h: F.batch_norm(h, None, None, training=True), "batch_norm"),
        (lambda h: h.argmax(1, keepdim=True).double().expand(-1, 3), "argmax"),
        (lambda h: torch.cdist(h, h), "cdist"),
        (lambda h: torch.add(h, 1, out=torch.empty(0).double()), "add"),
    ],
)
def test_what_has_no_affine_form_is_refused_by_name(function: Any, op: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, t: Tensor) -> Tensor:
            return function(self.layer(t))

    net = seeded(Net())
    with pytest.raises((bm.UnsupportedOperationError, bm.TrainingModeError), match=op):
        bm.local_affine(net, torch.randn(3, 4, dtype=torch.float64), 0)


def test_a_custom_backward_is_named() -> None:
    """Its forward is followed; that its backward belongs to it is taken on trust."""
    net = seeded(nn.Linear(4, 3))
    form = bm.local_affine(lambda t: Custom.apply(net(t)) + 1, torch.randn(1, 4).double(), 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "first-order"
    assert "CustomBackward" in form.certificate.first_order_ops[0]


def test_what_is_no_torch_function_is_refused() -> None:
    class Numpy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Tensor) -> Tensor:
            return torch.from_numpy(t.detach().numpy() * 2)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * 2

    net = seeded(nn.Linear(4, 3))
    with pytest.raises(bm.UnsupportedOperationError, match="Numpy"):
        bm.local_affine(lambda t: Numpy.apply(net(t)) + 1, torch.randn(1, 4).double(), 0)


def test_detach_is_never_silent() -> None:
    net = seeded(nn.Linear(4, 3))
    form = bm.local_affine(lambda t: net(t) * net(t).detach(), torch.randn(1, 4).double(), 0)
    assert form.certificate.verdict == "first-order"
    assert any("detach" in op for op in form.certificate.first_order_ops)


def test_samples_that_cannot_be_told_apart() -> None:
    net = seeded(nn.Linear(4, 3))
    with pytest.raises(bm.SampleAxisError, match="internal_batch_size=1"):
        bm.local_affine(lambda t: net(t).flip(0), torch.randn(2, 4).double(), 0)
    x = torch.randn(2, 4).double()
    assert bm.BiasBackprop(net).attribute(x, 0, internal_batch_size=1).shape == x.shape
