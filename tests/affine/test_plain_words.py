"""What is refused is refused in words that say what to do; what can be done is done."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import biasmatters as bm
from tests.affine.nets import seeded

torch.manual_seed(0)
NET = seeded(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)))
X = torch.randn(2, 4, dtype=torch.float64)
Pair = namedtuple("Pair", ["logits", "features"])  # noqa: PYI024 - what models return


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda out: torch.zeros(2), "does not depend on the model's output"),
        (lambda out: 1.0, "returned a float"),
        (lambda out: out[:, 0] * torch.nan, "not finite at sample index 0"),
        (lambda out: out, "returned shape"),
        ("cat", "A target is a class index.*'cat'"),
        (["cat", "dog"], "A target is a class index"),
    ],
)
def test_targets(target: Any, message: str) -> None:
    with pytest.raises(bm.InputError, match=message):
        bm.local_affine(NET, X, target)
    with pytest.raises(bm.InputError, match=message):
        bm.BiasBackprop(NET).attribute(X, target)


@pytest.mark.parametrize(
    ("made", "output", "message"),
    [
        (lambda z: {"a": z}, "b", r"no part 'b'.*keys \['a'\]"),
        (lambda z: (z, z), 2, "no part 2.*2 parts"),
        (lambda z: Pair(z, z), "probabilities", r"named \['logits', 'features'\]"),
        (lambda z: z, "logits", "no part 'logits'"),
    ],
)
def test_parts_of_an_output(made: Callable[[Tensor], Any], output: Any, message: str) -> None:
    with pytest.raises(bm.InputError, match=message):
        bm.local_affine(lambda x: made(NET(x)), X, 0, output=output)


@pytest.mark.parametrize("method", [bm.local_affine, lambda n, x: bm.BiasBackprop(n).attribute(x)])
def test_no_input(method: Any) -> None:
    with pytest.raises(bm.InputError, match="no input"):
        method(NET, ())


@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True])
def test_chunks(size: Any) -> None:
    with pytest.raises(bm.InputError, match="internal_batch_size"):
        bm.BiasBackprop(NET).attribute(X, 0, internal_batch_size=size)


def test_a_further_argument_need_not_be_a_tuple() -> None:
    factor = torch.rand(2, 4, dtype=torch.float64)

    def net(x: Tensor, by: Tensor) -> Tensor:
        return NET(x * by)

    single = bm.local_affine(net, X, 0, additional_forward_args=factor)
    wanted = bm.local_affine(net, X, 0, additional_forward_args=(factor,))
    torch.testing.assert_close(single.weight, wanted.weight)


def test_stochastic_depth_hints_at_evaluation() -> None:
    net = nn.Sequential(nn.Linear(4, 3), torchvision.ops.StochasticDepth(0.5, "row")).double()
    with pytest.raises(bm.UnsupportedOperationError, match="eval_mode=True"):
        bm.local_affine(net.train(), X, 0)
    assert bm.local_affine(net, X, 0, eval_mode=True).certificate.passed


def test_advice_that_can_work() -> None:
    class Numpy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Tensor) -> Tensor:
            return torch.from_numpy(t.detach().numpy() * 2)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * 2

    with pytest.raises(bm.UnsupportedOperationError, match="Numpy") as caught:
        bm.local_affine(lambda t: Numpy.apply(NET(t)) + 1, X, 0)
    assert "register_op" not in str(caught.value)
    assert "torch functions" in str(caught.value)


@pytest.mark.parametrize(
    "net",
    [
        lambda x: torch.func.vmap(NET)(x),
        lambda x: torch.func.grad(lambda t: NET(t).pow(2).sum())(x),
        lambda x: torch.func.jacrev(lambda t: NET(t).sum(0))(x)[0],
    ],
)
def test_transforms_of_functions(net: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(bm.UnsupportedOperationError, match=r"torch\.func"):
        bm.local_affine(net, X, 0)


def test_checkpoints_within_a_model() -> None:
    def part(h: Tensor) -> Tensor:
        return F.relu(NET[0](h), inplace=True).add_(1)

    def net(x: Tensor) -> Tensor:
        return NET[2](checkpoint(part, x, use_reentrant=False))

    wanted = bm.local_affine(lambda x: NET[2](part(x)), X, 0)
    form = bm.local_affine(net, X, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "exact"
    torch.testing.assert_close(form.weight, wanted.weight)
    assert bm.BiasBackprop(net, "uniform").explain(X, 0).complete


def test_reentrant_checkpoints_are_refused() -> None:
    with pytest.raises(bm.UnsupportedOperationError, match="use_reentrant=False"):
        bm.local_affine(lambda x: NET[2](checkpoint(NET[:2], x, use_reentrant=True)), X, 0)


class ByHand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, None] * torch.ones(3).double()
        return ((x @ x.mT).softmax(-1) @ x).flatten(1)


def test_freezing_what_is_not_recognised_warns() -> None:
    with pytest.warns(UserWarning, match="froze nothing"):
        bm.local_affine(ByHand(), X, 0, freeze_attention=True)
    with pytest.warns(UserWarning, match="froze nothing"):
        bm.BiasBackprop(ByHand(), "uniform", freeze_attention=True).attribute(X, 0)


@pytest.mark.parametrize("rule", bm.RULES)
def test_autocast_within_a_model(rule: str) -> None:
    net = seeded(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))).float()

    def half(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x)

    found = bm.BiasBackprop(half, rule).explain(X.float(), 0)
    assert found.complete
    assert found.map.dtype == torch.float32


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(F.relu(self.conv(x)), 2)
        h = F.adaptive_avg_pool2d(F.avg_pool2d(h, 2), 2)
        h = self.layer(F.interpolate(h, scale_factor=2.0, mode="bilinear").flatten(2).mT)
        h = self.attention(h, h, h, need_weights=False)[0]
        return self.head((h @ torch.ones(4, 4).double()).mean(1))


@pytest.mark.parametrize("rule", bm.RULES)
@pytest.mark.parametrize("target", [0, None, []])
def test_a_batch_of_nothing(rule: str, target: Any) -> None:
    net = seeded(Everything())
    x = torch.zeros(0, 3, 12, 12, dtype=torch.float64)
    bbp = bm.BiasBackprop(net, rule)
    assert bm.local_affine(net, x, target).bias.shape == (0,)
    assert bbp.explain(x, target, diagnostics=True).map.shape == x.shape
    assert bbp.explain(x, target, profile=True, layers=True).map.shape == x.shape
    assert bbp.attribute(x, target, internal_batch_size=2).shape == x.shape
