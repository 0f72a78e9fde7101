"""Views and linear layers go back by themselves: as autograd has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.recording import Options, Recording, record
from biasmatters.kernels import without_kernels
from tests.affine.nets import seeded
from tests.affine.test_backward import NET, assert_plain, end
from tests.affine.test_backward import compare as gone_both_ways
from tests.affine.test_chains import CHANNELS, SIDE, assert_close, compare, picture

Way = Callable[[Tensor], Tensor]
NOBODY: Any = None
RULES = ("uniform", "proportional", "softmax_neg_abs")
PLACES = SIDE * SIDE
MIX, ROWS = seeded(nn.Linear(CHANNELS, CHANNELS)), seeded(nn.Linear(SIDE, SIDE, bias=False))
WIDE = seeded(nn.Linear(CHANNELS * PLACES, CHANNELS * PLACES), scale=0.1)
BIAS = torch.randn(SIDE, 1, generator=torch.Generator().manual_seed(1)).double()

SHAPES: dict[str, Way] = {
    "flatten": lambda y: y.flatten(1),
    "flatten within": lambda y: y.flatten(1, 2),
    "flatten of a transposed": lambda y: y.transpose(1, 3).flatten(1),
    "unflatten": lambda y: y.unflatten(1, (2, -1)),
    "reshape": lambda y: torch.reshape(y, (len(y), -1, 2)),
    "reshape of a part": lambda y: y[:, 1:3].reshape(len(y), -1),
    "view": lambda y: y.view(len(y), 2, -1),
    "view_as": lambda y: y.view_as(torch.empty(len(y), CHANNELS * SIDE, SIDE)),
    "view_as a tracked one": lambda y: y.view_as(y.flatten(1) * 2),
    "view_as itself": lambda y: y.view_as(y),
    "reshape_as a tracked one": lambda y: y.mT.reshape_as(y.relu().flatten(1)),
    "squeeze": lambda y: y.unsqueeze(2).squeeze(2),
    "squeeze of nothing": lambda y: y.squeeze(1),
    "unsqueeze": lambda y: y.unsqueeze(-1),
    "ravel": lambda y: y.ravel().view(len(y), -1),
    "in place": lambda y: (y * 1).unsqueeze_(1).mul_(0.5),
    "written to": lambda y: (y * 1).view(len(y), -1).clamp_(max=0.3),
}
LAYERS: dict[str, Way] = {
    "flat": lambda y: WIDE(y.flatten(1)),
    "tokens": lambda y: MIX(y.flatten(2).mT),
    "rows, without bias": lambda y: ROWS(y),
    "a row for each sample": lambda y: ROWS(y[:, 0, 0]),
    "two behind each other": lambda y: MIX(F.relu(MIX(y.mean((2, 3))))),
    "a bias that is broadcast": lambda y: F.linear(y, ROWS.weight, BIAS[0]),
    "a vector": lambda y: F.linear(y, ROWS.weight[0]) * 2,
    "a transposed weight": lambda y: F.linear(y, ROWS.weight.T),
}
WAYS = {**SHAPES, **{f"linear, {name}": way for name, way in LAYERS.items()}}


def network(way: Way) -> Way:
    """Back to a picture, of which there are classes."""

    def forward(x: Tensor) -> Tensor:
        y = F.relu(NET.norm(NET.a(x)))
        flat, size = way(y).reshape(len(x), -1), x.numel() // len(x)
        flat = flat.repeat(1, 1 + size // flat.shape[1])[:, :size]
        return end(flat.reshape(x.shape) + 0.5)

    return forward


def steps(found: Recording, op: str) -> list[bool]:
    return [step.form.transpose is not None for step in found.steps if step.node.call.op == op]


@pytest.mark.parametrize("way", WAYS)
def test_gradients(way: str) -> None:
    assert_plain(network(WAYS[way]), picture(2))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", WAYS)
def test_maps(way: str, rule: str) -> None:
    model, x = network(WAYS[way]), picture(2)
    found = compare(model, x, rule)
    bias = bm.local_affine(model, x, 1).bias
    torch.testing.assert_close(found.single.flatten(1).sum(1), bias, rtol=1e-9, atol=1e-9)
    one = bm.BiasBackprop(model, rule).attribute(x, 1, internal_batch_size=1)
    assert isinstance(one, Tensor)
    assert_close(found.single, one, 1e-10)


@pytest.mark.parametrize("way", SHAPES)
def test_all_goes_where_the_value_came_from(way: str) -> None:
    found = record(network(SHAPES[way]), (picture(2),), 1, Options())
    routing = [s for s in found.steps if s.form.kind == "routing" and s.form.transpose is not None]
    assert routing
    for step in routing:
        call = step.node.call
        tau = torch.randn(call.output.shape, dtype=call.output.dtype)
        wanted = call.vjp(tau)
        assert step.form.transpose is not None
        assert torch.equal(step.form.transpose(tau)[0], wanted[0])
        assert torch.equal(step.form.pull(tau, NOBODY)[0], wanted[0])


def test_which_reshapes_go_back_by_themselves() -> None:
    for op, way in {"flatten": "flatten", "view_as": "view_as", "unsqueeze": "unsqueeze"}.items():
        assert all(steps(record(network(SHAPES[way]), (picture(1),), 1, Options()), op))
    found = record(network(SHAPES["view_as a tracked one"]), (picture(1),), 1, Options())
    assert steps(found, "view_as") == [False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float32])
def test_the_same_bits_in_another_format_have_no_gradient(dtype: torch.dtype) -> None:
    with pytest.raises(bm.UnsupportedOperationError, match="'view'"):
        bm.local_affine(network(lambda y: y.view(dtype).double()), picture(1), 1)


@pytest.mark.parametrize("rule", RULES)
def test_a_linear_layer_under_autocast(rule: str) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).float().eval()
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out: Tensor = net(x)
        assert out.dtype == torch.bfloat16
        return out.float()

    found = bm.BiasBackprop(model, rule).explain(x, 1)
    with without_kernels():
        wanted = bm.BiasBackprop(model, rule).explain(x, 1)
    assert found.complete
    assert found.single.dtype == torch.float32
    torch.testing.assert_close(found.single, wanted.single)
    exact = bm.BiasBackprop(net, rule).explain(x, 1)
    torch.testing.assert_close(found.single, exact.single, rtol=0.1, atol=0.05)
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(bm.local_affine(model, x, 1).weight, grad)


def test_a_linear_layer_under_autocast_behind_a_chain() -> None:
    block = seeded(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3), nn.ReLU())).float()
    head = seeded(nn.Linear(CHANNELS, 3)).float()

    def model(x: Tensor) -> Tensor:
        y = block(x).mean((2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            out: Tensor = head(y)
        return out

    found = gone_both_ways(model, picture(2).float(), tolerance=1e-5)
    assert steps(found, "linear") == [False]
