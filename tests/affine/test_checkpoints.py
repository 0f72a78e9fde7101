"""A model with checkpoints within is explained as it is without them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import biasmatters as bm
from biasmatters.affine.checkpoint import recomputes, without_recomputation
from tests.affine.nets import seeded
from tests.affine.test_chains import CHANNELS, CLASSES, picture

Way = Callable[[Tensor], Tensor]
Run = Callable[[Way, Tensor], Tensor]
RULES = ("uniform", "proportional", "softmax_neg_abs")


def conv() -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


BLOCK = seeded(nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS), nn.ReLU(), conv(), nn.ReLU6()))
NEXT, HEAD = seeded(conv()), seeded(nn.Linear(CHANNELS, CLASSES))


def saved(part: Way, x: Tensor) -> Tensor:
    out: Tensor = checkpoint(part, x, use_reentrant=False)
    return out


def plainly(part: Way, x: Tensor) -> Tensor:
    return part(x)


def residual(x: Tensor) -> Tensor:
    return F.relu(BLOCK(x) + x, inplace=True)


MODELS: dict[str, Callable[[Run, Tensor], Tensor]] = {
    "a block": lambda run, x: run(BLOCK, x),
    "a residual": lambda run, x: run(residual, NEXT(x)),
    "two": lambda run, x: run(residual, run(NEXT, x) + x),
    "everything but the head": lambda run, x: run(lambda t: NEXT(residual(BLOCK(t))), x),
    "a view": lambda run, x: run(lambda t: t.flatten(2), NEXT(x)).unflatten(2, x.shape[2:]),
    "no gradients within": lambda run, x: run(lambda t: without_grad(NEXT, t), x),
}


def without_grad(part: Way, x: Tensor) -> Tensor:
    with torch.no_grad():
        return F.relu(part(x))


def model(name: str, run: Run) -> Way:
    def forward(x: Tensor) -> Tensor:
        out: Tensor = HEAD(MODELS[name](run, x).mean((2, 3)))
        return out

    return forward


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_maps_and_forms(name: str, samples: int) -> None:
    x, inside, outside = picture(samples), model(name, saved), model(name, plainly)
    found, wanted = bm.local_affine(inside, x, 1), bm.local_affine(outside, x, 1)
    assert found.certificate.passed
    assert torch.equal(found.output, wanted.output)
    torch.testing.assert_close(found.weight, wanted.weight)
    torch.testing.assert_close(found.bias, wanted.bias)
    for rule in RULES:
        mine = bm.BiasBackprop(inside, rule).explain(x, 1)
        assert mine.complete
        torch.testing.assert_close(mine.single, bm.BiasBackprop(outside, rule).attribute(x, 1))


def test_checkpoints_one_behind_the_other() -> None:
    def inside(x: Tensor) -> Tensor:
        out: Tensor = HEAD(checkpoint_sequential(BLOCK, 2, x, use_reentrant=False).mean((2, 3)))
        return out

    x = picture(2)
    found = bm.BiasBackprop(inside, "uniform").explain(x, 1)
    wanted = bm.BiasBackprop(model("a block", plainly), "uniform").attribute(x, 1)
    torch.testing.assert_close(found.single, wanted)


def test_nothing_is_run_again() -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return residual(x)

    form = bm.local_affine(lambda x: HEAD(saved(counted, x).mean((2, 3))), picture(1), 1)
    assert form.certificate.passed
    assert calls == 1


def test_the_model_still_recomputes_afterwards() -> None:
    x = picture(1).requires_grad_()
    inside = model("two", saved)
    bm.local_affine(inside, x.detach(), 1)
    (found,) = torch.autograd.grad(inside(x).sum(), x)
    (wanted,) = torch.autograd.grad(model("two", plainly)(x).sum(), x)
    torch.testing.assert_close(found, wanted)


def test_whether_a_checkpoint_is_open() -> None:
    seen: list[bool] = []

    def part(x: Tensor) -> Tensor:
        seen.append(recomputes())
        with without_recomputation():
            seen.append(recomputes())
            out = x * x
        seen.append(recomputes())
        return out

    x = torch.ones(2, requires_grad=True)
    part(x)
    saved(part, x)
    part(x)
    assert seen == [False] * 3 + [True, False, True] + [False] * 3


def test_an_error_leaves_the_checkpoint_open() -> None:
    seen: list[bool] = []

    def part(x: Tensor) -> Tensor:
        with pytest.raises(KeyError), without_recomputation():
            raise KeyError
        seen.append(recomputes())
        return x * x

    saved(part, torch.ones(2, requires_grad=True))
    assert seen == [True]


def test_other_hooks_of_saved_tensors_are_left_alone() -> None:
    with save_on_cpu():
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
        assert not recomputes()
        with without_recomputation():
            assert torch._C._autograd._top_saved_tensors_default_hooks(True) == hooks


def test_one_checkpoint_within_another() -> None:
    layers = seeded(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)))
    first, act, last = layers

    def inner(x: Tensor) -> Tensor:
        return checkpoint(lambda t: act(first(t)), x, use_reentrant=False)  # type: ignore[no-any-return]

    def outer(x: Tensor) -> Tensor:
        return checkpoint(lambda t: last(inner(t) * 2), x, use_reentrant=False)  # type: ignore[no-any-return]

    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    found = bm.BiasBackprop(outer).explain(x, 0)
    wanted = bm.BiasBackprop(lambda t: last(act(first(t)) * 2)).explain(x, 0)
    assert torch.equal(found.single, wanted.single)
