"""The gradient step by step is autograd's own, and autograd's where a model has a say in it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import biasmatters as bm
from biasmatters.affine import recording as engine
from biasmatters.affine.recording import Options, Recording, record
from biasmatters.kernels import without_kernels
from biasmatters.types import Target
from tests.affine.graphs import STEPS, Draw, build
from tests.affine.nets import Residual, Written, seeded
from tests.affine.test_chains import CHANNELS, CLASSES, SIDE, assert_close, drawn, picture

pytest.importorskip("numba")

Model = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("one_thread")


def stepwise(
    model: Model, inputs: tuple[Tensor, ...], target: Target = 1, **how: Any
) -> tuple[Recording, bool]:
    """A recording without autograd, where that can be, and whether it could."""
    with patch.object(engine, "step_by_step", wraps=engine.step_by_step) as spy:
        found = record(model, inputs, target, Options(autograd=False, **how))
    return found, bool(spy.called)


def assert_same(found: Recording, wanted: Recording, tolerance: float = 1e-10) -> None:
    """Gradients, ledger and sizes, and those of every step."""
    assert len(found.weights) == len(wanted.weights)
    for mine, other in zip(found.weights, wanted.weights, strict=True):
        assert_close(mine, other, tolerance)
        assert mine.dtype == other.dtype
        assert not mine.requires_grad
    rows, others = list(found.ledger()), list(wanted.ledger())
    assert [(r.name, r.kind, r.op) for r in rows] == [(r.name, r.kind, r.op) for r in others]
    scale = max(float(row.share.abs().max()) for row in others)
    for row, other_row in zip(rows, others, strict=True):
        torch.testing.assert_close(
            row.share, other_row.share, rtol=tolerance, atol=tolerance * max(scale, 1)
        )
    assert_close(found.injected_mass(), wanted.injected_mass(), tolerance)
    assert torch.equal(found.output, wanted.output)
    for step, other_step in zip(found.steps, wanted.steps, strict=True):
        assert step.label == other_step.label
        assert (step.injected() is None) == (other_step.injected() is None)
        if step.grad is not None and other_step.grad is not None:
            assert_close(step.grad, other_step.grad, tolerance)


def compare(
    model: Model,
    *inputs: Tensor,
    target: Target = 1,
    steps: bool = True,
    tolerance: float = 1e-10,
    **how: Any,
) -> Recording:
    """Both ways, which was gone being as expected; what is found step by step."""
    found, went = stepwise(model, inputs, target, **how)
    assert went == steps
    assert_same(found, record(model, inputs, target, Options(**how)), tolerance)
    return found


def gradient(model: Model, *inputs: Tensor, target: int = 1) -> tuple[Tensor | None, ...]:
    """Autograd's, of the model as it is."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = model(*leaves)[:, target].sum()
    return torch.autograd.grad(out, leaves, allow_unused=True)


def assert_plain(model: Model, *inputs: Tensor, target: int = 1) -> None:
    """What `compare` looks at, and that the weights are those of the model as it is."""
    found = compare(model, *inputs, target=target)
    for mine, other in zip(found.weights, gradient(model, *inputs, target=target), strict=True):
        assert_close(mine, torch.zeros_like(mine) if other is None else other, 1e-10)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("seed", range(16))
def test_random_networks(seed: int, long: bool) -> None:
    network = drawn(seed, long=long)
    found = compare(network, picture(1 + seed % 3), target=seed % CLASSES)
    again = gradient(network, picture(1 + seed % 3), target=seed % CLASSES)[0]
    assert again is not None
    assert_close(found.weights[0], again, 1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_in_single_precision(seed: int) -> None:
    found = compare(drawn(seed).float(), picture(2).float(), tolerance=1e-5)
    assert found.weights[0].dtype == torch.float32


class Net(nn.Module):
    """Layers that the ways below go through."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        c = CHANNELS
        self.a, self.b = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 1)
        self.deep = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.strided = nn.Conv2d(c, c, (3, 2), (2, 3), (1, 2), (1, 2), groups=c)
        self.grouped = nn.Conv2d(c, 6, 3, groups=2)
        self.same = nn.Conv2d(c, c, (4, 2), padding="same", dilation=(1, 3), groups=c)
        self.circular = nn.Conv2d(c, c, 3, padding=2, padding_mode="circular", groups=c)
        self.wide = nn.Conv2d(c, c, 3, padding=4, groups=c)
        self.twice = nn.Conv2d(c, 2 * c, 3, padding=1, groups=c)
        self.up = nn.ConvTranspose2d(c, c, 3, 2, 1, 1)
        self.up_deep = nn.ConvTranspose2d(c, c, 3, 2, groups=c)
        self.line, self.solid = nn.Conv1d(c, c, 3, groups=c), nn.Conv3d(1, 2, 3, padding=1)
        self.norm, self.group_norm = nn.BatchNorm2d(c), nn.GroupNorm(2, c)
        self.lin, self.mix = nn.Linear(SIDE, SIDE), nn.Linear(c, c)
        self.prelu, self.head = nn.PReLU(c), nn.Linear(c, CLASSES)


NET = Net()
seeded(NET)


def end(x: Tensor) -> Tensor:
    """A chain, so that it can be gone step by step, and classes."""
    out: Tensor = NET.head(F.relu(NET.norm(NET.a(x))).flatten(2).mean(2))
    return out


def in_place(x: Tensor) -> Tensor:
    y = NET.a(x)
    y.mul_(2).add_(0.5)
    y += x
    return F.relu_(y.sub_(0.25))


def write(x: Tensor) -> Tensor:
    y = NET.a(x)
    y[:, 0] = x[:, 1] * 2
    y[:, 1:3].clamp_(max=0.4)
    return y


def accumulate(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for part in NET.a(x).unbind(1):
        out[:, 0] += part
    return out + NET.b(x)


def chunks(x: Tensor) -> Tensor:
    left, right = NET.a(x).chunk(2, 1)
    return torch.cat([left * 2, F.relu(right) - left], 1)


def splits(x: Tensor) -> Tensor:
    first, second, third = NET.a(x).split([1, 1, 2], 1)
    return torch.cat([third, second - first, first * 0.5], 1)


def unbound(x: Tensor) -> Tensor:
    first, second, *_ = F.relu(NET.a(x)).unbind(1)
    return torch.stack([first, second, first + second, -second], 1)


def one_part(x: Tensor) -> Tensor:
    """The other parts are looked at by nobody."""
    return NET.a(x).chunk(2, 1)[1].repeat(1, 2, 1, 1)


def indices(x: Tensor) -> Tensor:
    values, _ = NET.a(x).max(1, keepdim=True)
    return NET.b(x) + values


def extremes(x: Tensor) -> Tensor:
    y = NET.a(x)
    return y - y.amax((2, 3), keepdim=True) + y.min(3, keepdim=True).values


def three_times(x: Tensor) -> Tensor:
    y = NET.a(x)
    return F.relu(y) + NET.b(y) - y.abs()


def both_sides(x: Tensor) -> Tensor:
    """A bend that is looked at beside its own chain."""
    y = F.relu6(NET.norm(NET.a(x)))
    return NET.b(y) + y * 0.5


def attend(x: Tensor) -> Tensor:
    y = F.relu(NET.a(x)).flatten(2)
    return (torch.softmax(y.mT @ y / 4, 2) @ y.mT).mT.reshape(x.shape)


def gates(x: Tensor) -> Tensor:
    y = F.relu(NET.a(x))
    gate = torch.sigmoid(NET.mix(y.mean((2, 3))))[..., None, None]
    return y * gate + gate


def of_scalars(x: Tensor) -> Tensor:
    """One number for each sample meets planes."""
    y = F.relu(NET.a(x))
    return (y - y.mean((1, 2, 3), keepdim=True)) / (1 + y.std((1, 2, 3), keepdim=True))


def solid(x: Tensor) -> Tensor:
    y = F.relu(NET.solid(x.unsqueeze(1)))
    return y[:, 0] - y[:, 1]


def pairs(x: Tensor) -> Tensor:
    """Convolutions along a line, and one picture at a time."""
    rows = F.relu(NET.line(x[:, :, 0]))
    return F.pad(rows, (1, 1)).unsqueeze(2) + x


def gathered(x: Tensor) -> Tensor:
    y = F.relu(NET.a(x))
    return y.gather(3, y.argsort(3)) + y[:, [1, 0, 3, 2]] - y.flip(2).roll(1, 3)


def squares(x: Tensor) -> Tensor:
    y = NET.a(x)
    return F.relu(y) * y + y * y + y / (1 + x * x) - x.square()


def casts(x: Tensor) -> Tensor:
    """Formats between, and a sum of two formats."""
    y = F.relu(NET.a(x))
    return NET.b(y).float() * 0.5 + x


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "a residual with its ancestor": lambda x: NET.a(x) + NET.b(NET.a(x)),
    "a residual with the input": lambda x: F.relu(NET.a(x)) + x,
    "x + x": lambda x: NET.a(x) + (x + x),
    "y + y": lambda x: (lambda y: F.relu(y + y))(NET.a(x)),
    "x - relu(x)": lambda x: (lambda y: y - F.relu(y))(NET.a(x)),
    "relu(x) - x": lambda x: (lambda y: F.relu6(F.relu(y) - y))(NET.a(x)),
    "x - x": lambda x: (lambda y: y - y + NET.b(x))(NET.a(x)),
    "concatenated with its own function": lambda x: (
        lambda y: torch.cat([y, F.relu(y)], 1)[:, 2:6]
    )(NET.a(x)),
    "concatenated with itself": lambda x: (lambda y: torch.cat([y, y], 1)[:, 2:6])(NET.a(x)),
    "chunks": chunks,
    "splits": splits,
    "unbound": unbound,
    "one part": one_part,
    "indices": indices,
    "extremes": extremes,
    "in place": in_place,
    "written": write,
    "accumulated": accumulate,
    "three times": three_times,
    "both sides": both_sides,
    "attention": attend,
    "gates": gates,
    "one number for each sample": of_scalars,
    "conv3d": solid,
    "conv1d": pairs,
    "gathered": gathered,
    "squares": squares,
    "casts": casts,
    "sum with alpha": lambda x: torch.add(NET.a(x), F.relu(NET.b(x)), alpha=-0.3),
    "difference with alpha": lambda x: torch.sub(NET.a(x), F.relu(NET.b(x)), alpha=2),
    "rsub": lambda x: torch.rsub(NET.a(x), F.relu(NET.b(x)), alpha=3),
    "rsub of itself": lambda x: (lambda y: torch.rsub(y, F.relu(y), alpha=3))(NET.a(x)),
    "broadcast": lambda x: NET.a(x) + x[:, :1, :1, :1] - x.mean((2, 3), keepdim=True),
    "broadcast twice": lambda x: x[:, :1, :1] + x[:, :, :, :1],
    "product with its ancestor": lambda x: (lambda y: F.relu(y) * y)(NET.a(x)),
    "product by broadcasting": lambda x: NET.a(x) * x[:, :1, :1, :1],
    "ratio": lambda x: NET.a(x) / (2 + F.relu(NET.b(x))),
    "addcmul": lambda x: torch.addcmul(NET.a(x), NET.b(x), x, value=0.5),
    "lerp": lambda x: torch.lerp(NET.a(x), NET.b(x), torch.sigmoid(x)),
    "maximum": lambda x: torch.maximum(NET.a(x), NET.b(x)),
    "where": lambda x: torch.where(x > 0, NET.a(x), NET.b(x)),
    "maxpool": lambda x: F.max_pool2d(F.relu(NET.a(x)), 3, 1, 1),
    "maxpool with strides": lambda x: F.max_pool2d(F.relu(NET.a(x)), 3, 2),
    "avgpool": lambda x: F.avg_pool2d(F.relu(NET.a(x)), 2, 2, 1, count_include_pad=False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(NET.a(x), (3, 2)),
    "zeros around": lambda x: F.relu(NET.b(F.pad(NET.a(x), (1, 2, 0, 3)))),
    "zeros around channels": lambda x: F.pad(NET.a(x)[:, 1:3], (0, 1, 2, 0, 1, 1)),
    "a constant around": lambda x: F.pad(NET.a(x), (1, 0, 2, 0), value=0.5),
    "mirrored": lambda x: F.pad(NET.a(x), (2, 1, 0, 3), mode="reflect"),
    "cropped": lambda x: F.pad(NET.a(x), (-1, 2, 0, -2)),
    "depthwise": lambda x: F.relu(NET.deep(F.relu(NET.deep(x)))),
    "depthwise, alone": lambda x: NET.deep(NET.deep(x)),
    "depthwise, used twice": lambda x: (lambda y: NET.deep(y) - y)(F.relu6(NET.deep(x))),
    "depthwise with strides": lambda x: F.relu(NET.strided(F.relu(NET.strided(x)))),
    "depthwise, padded unevenly": lambda x: F.relu(NET.same(F.relu(NET.same(x)))),
    "depthwise in a circle": lambda x: NET.circular(F.relu(NET.circular(x))),
    "depthwise, padded widely": lambda x: NET.wide(F.relu(NET.wide(x))),
    "depthwise, several units": lambda x: F.relu(NET.twice(x))[:, ::2],
    "grouped": lambda x: F.relu(NET.grouped(x))[:, 1:5],
    "transposed": lambda x: NET.up(F.relu(NET.up(x))),
    "transposed, depthwise": lambda x: F.relu(NET.up_deep(x)),
    "along rows": lambda x: F.relu(NET.lin(NET.a(x))),
    "permuted": lambda x: NET.a(x.permute(0, 1, 3, 2)).permute(0, 1, 3, 2).contiguous(),
    "group norm": lambda x: F.relu(NET.group_norm(NET.a(x))),
    "prelu": lambda x: NET.prelu(NET.norm(NET.a(x))),
    "smooth": lambda x: F.silu(NET.a(x)) + torch.tanh(NET.norm(NET.b(x))),
    "upsampled": lambda x: F.interpolate(F.relu(NET.a(x)), scale_factor=2, mode="bilinear"),
    "expanded": lambda x: F.relu(NET.a(x)).mean(1, keepdim=True).expand(-1, CHANNELS, -1, -1),
    "repeated": lambda x: NET.a(x)[:, :2].repeat(1, 2, 1, 1),
    "einsum": lambda x: torch.einsum("nchw,ndhw->ncdh", NET.a(x), x).softmax(2),
    "norms": lambda x: (lambda y: y / (1 + y.norm(dim=1, keepdim=True)))(NET.a(x)),
    "broadcast, then a bend": lambda x: F.relu(NET.norm(NET.a(x) + x.mean((2, 3), keepdim=True))),
    "one number for all, then a bend": lambda x: F.relu6(x[:, :1, :1, :1] - NET.a(x)),
    "sum with alpha, then a bend": lambda x: F.hardtanh(torch.add(x, NET.b(x), alpha=-2), -1, 2),
    "broadcast tensors": lambda x: (lambda pair: F.relu(pair[0]) - pair[1] * 2)(
        torch.broadcast_tensors(NET.a(x), x[:, :, :1, :1])
    ),
    "attention of torch": lambda x: (lambda y: F.scaled_dot_product_attention(y, y * 2, F.relu(y)))(
        NET.a(x)
    ),
    "checkpointed": lambda x: checkpoint(
        lambda y: F.relu(NET.norm(NET.a(y))) + y, F.relu(NET.b(x)), use_reentrant=False
    ),
    "cumulated": lambda x: F.relu(NET.a(x)).cumsum(3),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("way", WAYS)
def test_ways(way: str) -> None:
    assert_plain(lambda x: end(WAYS[way](x)), picture(2))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("way", WAYS)
def test_ways_behind_a_chain(way: str) -> None:
    assert_plain(lambda x: end(WAYS[way](F.relu(NET.norm(NET.b(x))))), picture(3), target=2)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_random_ways_one_behind_the_other() -> None:
    chooser = random.Random(0)
    same_size = [way for way in WAYS if WAYS[way](picture(1)).shape[1] == CHANNELS]
    for _ in range(12):
        one, two, three = (WAYS[chooser.choice(same_size)] for _ in range(3))
        small = F.adaptive_avg_pool2d if chooser.random() < 0.5 else F.adaptive_max_pool2d

        def model(x: Tensor, small: Any = small, ways: Any = (one, two, three)) -> Tensor:
            y = small(ways[0](x), SIDE)
            z = small(ways[1](y), SIDE)
            return end(small(ways[2](z + y), SIDE) - x)

        compare(model, picture(2))


def test_random_graphs() -> None:
    chooser, stepped = random.Random(1), 0
    for _ in range(60):
        draws = [
            Draw(chooser.choice(STEPS), *(chooser.randint(1, n) for n in (6, 3, 2, 2, 3, 3)))
            for _ in range(chooser.randint(1, 6))
        ]
        network, x = build(draws, chooser.randrange(10**6))
        found, went = stepwise(network, (x,))
        stepped += went
        assert_same(found, record(network, (x,), 1, Options()))
    assert stepped > 15


def test_an_input_that_is_written_to() -> None:
    def model(x: Tensor, *, own: bool = False) -> Tensor:
        y = x.clone() if own else x
        y.mul_(2)
        y[:, 1] += y[:, 0]
        return end(F.relu(NET.a(y)) - x if not own else F.relu(NET.a(y)) - y)

    found = compare(model, picture(2))
    (wanted,) = gradient(lambda x: model(x, own=True), picture(2))
    assert wanted is not None
    assert_close(found.weights[0], wanted, 1e-10)


@pytest.mark.parametrize("inner", [torch.float32, torch.float64])
def test_two_formats(inner: torch.dtype) -> None:
    """A chain in one, which meets the other in a sum, a product and a concatenation."""
    net = Net()
    seeded(net)
    net.to(inner)
    outer = torch.float64 if inner == torch.float32 else torch.float32

    def model(x: Tensor) -> Tensor:
        y = F.relu(net.norm(net.a(x.to(inner))))
        z = F.relu(net.deep(x.to(inner)))
        w = F.relu6(net.b(x.to(inner)))
        total = torch.sub(x, y, alpha=2) + torch.cat([z, x], 1)[:, 1:5] + w * x
        return net.head(total.mean((2, 3)).to(inner))  # type: ignore[no-any-return]

    found = compare(model, picture(2).to(outer), tolerance=1e-5)
    assert found.weights[0].dtype == outer
    grads = [step.grad for step in found.steps if step.chain is not None]
    assert len(grads) == 3
    assert all(grad is not None and grad.dtype == inner for grad in grads)


def test_no_grad_within_a_model_cuts_nothing() -> None:
    def model(x: Tensor, *, cut: bool = True) -> Tensor:
        with torch.no_grad() if cut else nullcontext():
            y = F.relu(NET.a(x))
        return end(NET.b(y) + x)

    found = compare(model, picture(2))
    (wanted,) = gradient(lambda x: model(x, cut=False), picture(2))
    assert wanted is not None
    assert_close(found.weights[0], wanted, 1e-10)


@pytest.mark.parametrize("network", [Residual, Written])
def test_networks_that_write(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = seeded(network())
    x = torch.randn(3, 2, 6, 6) if network is Residual else torch.randn(3, 6)
    found, _ = stepwise(model, (x.double(),))
    assert_same(found, record(model, (x.double(),), 1, Options()))


@pytest.mark.parametrize("target", [None, 0, [2, 0, 1], lambda out: out[:, 0] - out[:, 2]])
def test_targets(target: Target) -> None:
    compare(drawn(0), picture(3), target=target)


def test_a_target_of_many_operations() -> None:
    def target(out: Tensor) -> Tensor:
        return F.relu(out).sum((1, 2, 3)) + out[:, 0, 0, 0] * out.mean((1, 2, 3))

    compare(lambda x: F.relu(NET.norm(NET.a(x))), picture(3), target=target)
    compare(NET.a, picture(2), target=lambda out: torch.relu(NET.b(out)).amax((1, 2, 3)))


def test_what_is_explained_may_be_anywhere() -> None:
    """The top of a chain, a convolution, the input, a view of it, and a part of an output."""
    net, x = nn.Sequential(NET.a, NET.norm, nn.ReLU()), picture(2)
    compare(net, x, target=lambda out: out[:, 1, 2, 2])
    compare(lambda x: NET.a(F.relu(NET.a(x))), x, target=lambda out: out[:, 1, 2, 2])
    compare(lambda x: x.flatten(1), x, target=60, steps=False)
    compare(lambda x: x[:, :, 4, 4], x, steps=False)
    vector = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    compare(lambda x: x, vector, steps=False)
    compare(lambda x: x.view(3, 4), vector, steps=False)
    compare(lambda x: {"a": end(x), "b": end(F.relu(x))}, x, output="b")


def test_an_output_that_is_the_input_again() -> None:
    """The value is made of the input directly and of nothing that a chain made."""

    def model(x: Tensor) -> Tensor:
        NET.head(F.relu(NET.mix(x)))
        return x

    vector = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    compare(model, vector, steps=False)
    assert torch.equal(stepwise(model, (vector,))[0].weights[0], F.one_hot(torch.tensor([1]), 4)
                       .double().expand(3, 4))  # fmt: skip


def test_a_leaf_that_is_explained_beside_what_is_made_of_it() -> None:
    def model(x: Tensor) -> Tensor:
        return x + F.relu(NET.mix(x))

    vector = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    assert_plain(model, vector)
    assert_plain(lambda x: torch.cat([x, F.relu(NET.mix(x))], 1), vector, target=5)


def test_several_inputs() -> None:
    x, y = picture(2), picture(2, 1)
    assert_plain(lambda x, y: end(NET.a(x) + F.relu(NET.b(y))), x, y)
    assert_plain(lambda x, y: end(F.relu(NET.a(x))), x, y)
    assert_plain(lambda x, y: end(F.relu(NET.a(y))) + x.sum(), x[:1], y[:1])
    assert_plain(lambda x, y: end(NET.a(x) * y - y), x, y)
    found = compare(lambda x, y: end(F.relu(NET.a(x))), x, y)
    assert not found.weights[1].any()
    assert found.weights[1].shape == y.shape


def test_the_same_tensor_for_several_inputs() -> None:
    x = picture(2)
    found = compare(lambda x, y: end(NET.a(x) - F.relu(NET.b(y))), x, x)
    assert not torch.equal(*found.weights)


def test_further_arguments() -> None:
    shift = torch.randn(CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    found = compare(lambda x, s: end(F.relu(NET.a(x) + s)), picture(2), args=(shift,))
    assert len(found.weights) == 1


def test_one_picture_without_its_batch_within_a_model() -> None:
    def model(x: Tensor) -> Tensor:
        y = NET.a(F.relu(NET.b(x[0])))
        return end((F.relu(NET.deep(y)) + x[0]).unsqueeze(0))

    assert_plain(model, picture(1))


def test_no_samples() -> None:
    found, went = stepwise(drawn(0), (picture(0),))
    assert not went
    assert found.weights[0].shape == (0, CHANNELS, SIDE, SIDE)


def test_without_kernels_it_is_autograd() -> None:
    with without_kernels():
        compare(drawn(0), picture(2), steps=False)


def test_channels_last() -> None:
    def model(x: Tensor) -> Tensor:
        y = F.relu(NET.deep(NET.a(x).contiguous(memory_format=torch.channels_last)))
        return end(NET.b(y).contiguous())

    assert_plain(model, picture(2))
    for seed in range(4):
        network = drawn(seed)
        last = picture(2).contiguous(memory_format=torch.channels_last)
        found, _ = stepwise(network, (last,))
        assert_same(found, record(network, (last,), 1, Options()))
        assert_close(found.weights[0], compare(network, picture(2)).weights[0], 1e-10)


def test_a_batch_that_is_a_view() -> None:
    assert_plain(drawn(1), picture(6)[::3])
    assert_plain(drawn(1), picture(1).expand(3, -1, -1, -1))


def test_inference_mode_around() -> None:
    network, x = drawn(2), picture(2)
    plain = compare(network, x)
    with torch.inference_mode():
        inside, went = stepwise(network, (picture(2),))
        assert went
        assert_same(inside, plain)
    with torch.no_grad():
        inside, went = stepwise(network, (x,))
        assert went
        assert_same(inside, plain)


def test_parameters_and_inputs_are_left_alone() -> None:
    network, x = drawn(1), picture(2).requires_grad_()
    before = [p.detach().clone() for p in network.parameters()]
    compare(network, x)
    assert x.grad is None
    assert all(p.grad is None for p in network.parameters())
    assert all(map(torch.equal, before, network.parameters()))


def test_the_weight_of_a_local_form_is_autograds_bit_for_bit() -> None:
    for seed in range(8):
        network, x = drawn(seed), picture(2)
        form, (wanted,) = bm.local_affine(network, x, 1), gradient(network, x)
        assert isinstance(form.weight, Tensor)
        assert wanted is not None
        assert torch.equal(form.weight, wanted)
        single, (wanted,) = (
            bm.local_affine(network.float(), x.float(), 1),
            gradient(network, x.float()),
        )
        assert isinstance(single.weight, Tensor)
        assert wanted is not None
        assert torch.equal(single.weight, wanted)


def test_a_gradient_of_zero_and_one_that_nothing_asks_for() -> None:
    """A value that depends on nothing, and steps that have no bias."""
    with torch.no_grad():
        bare = seeded(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, bias=False), nn.ReLU()))
    compare(lambda x: NET.head(bare(x).mean((2, 3))), picture(2))
    found = compare(lambda x: end(F.relu(NET.a(x)) * 0), picture(2))
    assert not found.weights[0].any()


# Models that have a say in the backward pass themselves.


class Wrong(torch.autograd.Function):
    """The value again, with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 3 + 1


class Marked(Wrong):
    """In place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x


class Whole(Wrong):
    """A product, which the tape sees from within."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2


def hooked(place: str, hook: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A model that hooks one of its tensors."""

    def model(x: Tensor) -> Tensor:
        def at(name: str, tensor: Tensor) -> Tensor:
            if place == name:
                tensor.register_hook(hook)
            return tensor

        y = at("input", x)
        y = at("convolution", NET.a(y))
        y = at("norm", NET.norm(y))
        y = at("bend", F.relu(y))
        y = at("sum", y + x)
        if place == "written":
            y.mul_(2)
            y.register_hook(hook)
        y = at("depthwise", NET.deep(y))
        return at("output", end(F.relu(y)))

    return model


PLACES = [
    "input",
    "convolution",
    "norm",
    "bend",
    "sum",
    "written",
    "depthwise",
    "output",
]


@pytest.mark.parametrize("place", PLACES)
def test_hooks_of_tensors(place: str) -> None:
    """One that is not linear, so that it matters which gradient it meets."""
    model = hooked(place, lambda grad: grad.clamp(-0.01, 0.02) * 3 + 0.1)
    found = compare(model, picture(2), steps=False)
    (wanted,) = gradient(model, picture(2))
    assert wanted is not None
    assert_close(found.weights[0], wanted, 1e-10)
    (other,) = gradient(hooked("nowhere", lambda grad: grad), picture(2))
    assert other is not None
    assert not torch.allclose(wanted, other)


@pytest.mark.parametrize("place", PLACES)
def test_a_hook_that_only_looks_is_called_once(place: str) -> None:
    seen: list[Tensor] = []
    model = hooked(place, seen.append)  # type: ignore[arg-type]
    stepwise(model, (picture(2),))
    assert len(seen) == 1


def test_a_hook_within_the_target() -> None:
    def target(out: Tensor) -> Tensor:
        out.register_hook(lambda grad: grad * 2 + 1)
        return F.relu(out)[:, 1]

    compare(end, picture(2), target=target, steps=False)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("layer", ["convolution", "bend", "depthwise"])
def test_hooks_of_autograds_own_functions(layer: str, place: str) -> None:
    def model(x: Tensor, *, hook: bool = True) -> Tensor:
        made = {"convolution": NET.a(x)}
        made["bend"] = F.relu(NET.norm(made["convolution"]))
        made["depthwise"] = NET.deep(made["bend"])
        function = made[layer].grad_fn
        assert function is not None
        if hook and place == "before":
            function.register_prehook(lambda grads: (grads[0] * 2 + 1,))
        elif hook:
            function.register_hook(
                lambda gins, _: tuple(None if g is None else g * 2 + 1 for g in gins)
            )
        return end(F.relu(made["depthwise"]))

    (wanted,) = gradient(model, picture(2))
    (plain,) = gradient(lambda x: model(x, hook=False), picture(2))
    assert wanted is not None
    assert plain is not None
    assert not torch.allclose(wanted, plain)
    whole = record(model, (picture(2),), 1, Options())
    assert_close(whole.weights[0], wanted, 1e-10)
    assert_same(stepwise(model, (picture(2),))[0], whole)


def test_hooks_on_what_has_no_part_in_the_value() -> None:
    def model(x: Tensor) -> Tensor:
        NET.b(x).register_hook(lambda grad: grad * 2)
        return end(F.relu(NET.a(x)))

    compare(model, picture(2))


def test_gradients_that_are_kept_change_nothing() -> None:
    def model(x: Tensor) -> Tensor:
        y = NET.a(x)
        y.retain_grad()
        return end(F.relu(y))

    assert_same(stepwise(model, (picture(2),))[0], record(model, (picture(2),), 1, Options()))


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS), nn.ReLU(),
        nn.Flatten(), nn.Linear(CHANNELS * 9, CLASSES),
    )  # fmt: skip


@pytest.mark.parametrize("layer", range(7))
@pytest.mark.parametrize("kind", ["full", "full, before"])
def test_hooks_of_modules(kind: str, layer: int) -> None:
    torch.manual_seed(1)
    network = seeded(small())
    assert isinstance(network, nn.Sequential)
    (plain,) = gradient(network, picture(2))
    if kind == "full":
        network[layer].register_full_backward_hook(lambda _, gins, __: (gins[0] * 2 + 1,))
    else:
        network[layer].register_full_backward_pre_hook(lambda _, gouts: (gouts[0] * 2 + 1,))
    found = compare(network, picture(2), steps=False)
    (wanted,) = gradient(network, picture(2))
    assert wanted is not None
    assert plain is not None
    assert_close(found.weights[0], wanted, 1e-10)
    assert not torch.allclose(wanted, plain)


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
@pytest.mark.parametrize("layer", range(7))
def test_hooks_of_modules_of_the_old_kind(layer: int) -> None:
    torch.manual_seed(1)
    network = seeded(small())
    assert isinstance(network, nn.Sequential)
    network[layer].register_backward_hook(
        lambda _, gins, __: (gins[0] * 2 + 1 if gins[0] is not None else None, *gins[1:])
    )
    found, _ = stepwise(network, (picture(2),))
    assert_same(found, record(network, (picture(2),), 1, Options()))


@pytest.mark.parametrize("function", [Wrong, Marked, Whole])
@pytest.mark.parametrize("place", ["input", "convolution", "norm", "sum", "output"])
def test_a_function_with_a_backward_of_its_own(place: str, function: type[Wrong]) -> None:
    def model(x: Tensor, *, on_trust: bool = True) -> Tensor:
        def at(name: str, tensor: Tensor) -> Tensor:
            made = function.apply(tensor) if name == place and on_trust else tensor
            assert isinstance(made, Tensor)
            return made

        y = at("input", x * 1)
        y = at("convolution", NET.a(y))
        y = F.relu(at("norm", NET.norm(y)))
        return at("output", end(F.relu(NET.deep(at("sum", y + x)))))

    found = compare(model, picture(2), steps=False)
    (wanted,), (other,) = (
        gradient(lambda x, own=own: model(x, on_trust=own), picture(2))
        for own in (True, False)
    )  # fmt: skip
    assert wanted is not None
    assert other is not None
    assert_close(found.weights[0], wanted, 1e-10)
    assert not torch.allclose(wanted, other)


def test_constants_changed_after_use() -> None:
    def model(x: Tensor) -> Tensor:
        shift = torch.ones(CHANNELS, 1, 1, dtype=x.dtype)
        y = F.relu(NET.a(x + shift))
        shift.mul_(2)
        y = F.relu6(NET.deep(y) + shift)
        shift.sub_(1)
        return end(y - shift)

    compare(model, picture(2))


@pytest.mark.parametrize("layer", ["a", "deep"])
def test_kernels_changed_after_use(layer: str) -> None:
    """Autograd refuses it; if it is not refused, it is the gradient of what ran."""
    kernel = getattr(NET, layer).weight.detach()
    groups = getattr(NET, layer).groups

    def model(x: Tensor, *, change: bool = True) -> Tensor:
        own = kernel.clone()
        y = F.relu(F.conv2d(x, own, None, 1, 1, 1, groups))
        if change:
            own.mul_(2)
        return end(y)

    (wanted,) = gradient(lambda x: model(x, change=False), picture(2))
    with pytest.raises(bm.UnsupportedOperationError, match="inplace operation"):
        record(model, (picture(2),), 1, Options())
    try:
        found = record(model, (picture(2),), 1, Options(autograd=False))
    except bm.UnsupportedOperationError:
        return
    assert wanted is not None
    assert_close(found.weights[0], wanted, 1e-10)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("way", ["a", "b", "deep", "strided", "grouped", "circular", "twice"])
def test_autocast_within_a_model(way: str, beside: bool, samples: int) -> None:
    """What a chain needs is in single precision, and what a convolution gives is not."""
    net = Net()
    seeded(net)
    net.float()

    def model(x: Tensor) -> Tensor:
        y = F.relu(net.norm(net.a(x)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = F.relu(getattr(net, way)(y))
        z = z.float().mean((1, 2, 3), keepdim=True)
        y = F.relu(net.b(y if beside else x) + z)
        return net.head(y.mean((2, 3)))  # type: ignore[no-any-return]

    compare(model, picture(samples).float(), tolerance=0.02)


def test_autocast_around_a_residual() -> None:
    net = Net()
    seeded(net)
    net.float()

    def model(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = F.relu(net.a(x) + x) + F.relu(x + x[:, :1])
            return net.head(F.relu(net.b(y)).mean((2, 3)).float())  # type: ignore[no-any-return]

    found, _ = stepwise(model, (picture(2).float(),))
    assert_same(found, record(model, (picture(2).float(),), 1, Options()), 0.02)


def test_slopes_that_are_infinite() -> None:
    """A norm whose variance is 0: what autograd makes of it, also where that is no number."""
    network = seeded(small())
    assert isinstance(network, nn.Sequential)
    with torch.no_grad():
        network[1].weight[1] = 0
        network[1].weight[2] = -1.5
    assert math.isfinite(float(compare(network, picture(2)).weights[0].sum()))


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": lambda a, b: a @ b.mT,
    "einsum": lambda a, b: torch.einsum("nij,nkj->nik", a, b),
    "baddbmm": lambda a, b: torch.baddbmm(a, a, b),
    "attention": lambda a, b: F.scaled_dot_product_attention(a, b, b),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_of_two_under_autocast(product: str) -> None:
    """What is run again outside of autocast would not be the same."""
    net = Net()
    seeded(net)
    net.float()

    def model(x: Tensor) -> Tensor:
        y = F.relu(net.norm(net.a(x)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = net.b(y)
            made = PRODUCTS[product](z.flatten(0, 1), y.flatten(0, 1))
        return net.head(made.float().reshape(y.shape).mean((2, 3)))  # type: ignore[no-any-return]

    found = bm.BiasBackprop(model, "uniform").explain(picture(2).float(), 1)
    assert bool(found.map.isfinite().all())


def test_a_caller_under_autocast() -> None:
    net = Net()
    seeded(net)
    net.float()

    def model(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return net.head(F.relu(net.norm(net.a(x.float()))).mean((2, 3)))  # type: ignore[no-any-return]

    x = picture(2).float()
    wanted = bm.BiasBackprop(model, "uniform").explain(x, 1).map
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = bm.BiasBackprop(model, "uniform").explain(x, 1).map
    assert torch.equal(found, wanted)


def test_no_gradient_is_kept_where_no_constant_meets_it() -> None:
    layers = [nn.Conv2d(4, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3)]
    found, stepped = stepwise(nn.Sequential(*layers).double(), (picture(2),))
    assert stepped
    assert [step.grad is None for step in found.steps] == [True, True, True, False]
