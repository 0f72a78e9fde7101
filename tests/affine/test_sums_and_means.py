"""Sums and means, whose coefficients are all one number: maps and gradients as in general."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import biasmatters as bm
from biasmatters.affine.maps.separable import SeparableMap
from biasmatters.affine.maps.totals import TotalMap
from biasmatters.affine.recording import Options, record
from tests.affine.nets import seeded
from tests.affine.test_backward import NET, assert_plain
from tests.affine.test_chains import CHANNELS, CLASSES, SIDE, assert_close, compare, picture

Way = Callable[[Tensor], Tensor]
RULES = ("uniform", "proportional", "softmax_neg_abs")
HEAD = seeded(torch.nn.Linear(CHANNELS * SIDE * SIDE, CLASSES))

EVEN: dict[str, Way] = {
    "mean of one axis": lambda y: y.mean(1),
    "mean of places": lambda y: y.mean((2, 3)),
    "mean, counted from the end": lambda y: y.mean(dim=(-1, -3)),
    "mean, kept": lambda y: torch.mean(y, [3], keepdim=True),
    "mean of all, kept": lambda y: y.mean((-3, -2, -1), keepdim=True),
    "sum of one axis": lambda y: y.sum(-1),
    "sum of places": lambda y: torch.sum(y, dim=(2, 3)),
    "sum, kept": lambda y: y.sum((1, 3), True),
    "sum of numpy's name": lambda y: y.sum(axis=2),
    "mean in the same format": lambda y: y.mean(2, dtype=torch.float64),
    "mean of one channel": lambda y: y[:, :1].mean(1),
    "sum of one place": lambda y: y[:, :, :1, :1].sum((2, 3), keepdim=True),
    "mean of a view": lambda y: y.transpose(1, 3).mean((1, 2)),
    "two behind each other": lambda y: F.relu(y.mean(3) - 0.1).sum(2),
    "sum of nothing": lambda y: y[:, :0].sum(1) + y[:, 0],
    "sum of no places": lambda y: y.mean((2, 3)) + y[..., :0].sum((2, 3)),
    "pooled to 1": lambda y: F.adaptive_avg_pool2d(y, 1),
    "pooled along a line": lambda y: F.adaptive_avg_pool1d(y.flatten(2), 1),
    "pooled in space": lambda y: F.adaptive_avg_pool3d(y, 1),
    "pooled, then used": lambda y: y - F.adaptive_avg_pool2d(y, 1),
}
UNEVEN: dict[str, Way] = {
    "mean in another format": lambda y: y.float().mean(1, dtype=torch.float64),
    "pooled to (1, None), of one column": lambda y: F.adaptive_avg_pool2d(y[..., :1], (1, None)),
    "pooled to rows": lambda y: F.adaptive_avg_pool2d(y, (1, 3)),
    "pooled to columns": lambda y: F.adaptive_avg_pool2d(y, (None, 1)),
    "pooled to all columns": lambda y: F.adaptive_avg_pool2d(y, (1, None)),
    "pooled in space, in part": lambda y: F.adaptive_avg_pool3d(y, (1, 2, 1)),
}
ALONE: dict[str, Way] = {
    "sum of everything": lambda y: y.sum(),
    "mean of everything": lambda y: y.mean(),
    "mean of no axis, which is of all": lambda y: y.mean(()),
    "sum of all axes": lambda y: y.sum((0, 1, 2, 3)),
    "mean of all, kept": lambda y: torch.mean(y, (0, 1, 2, 3), keepdim=True),
    "mean of no named axis": lambda y: y.mean(dim=None),
    "mean over the sample": lambda y: y.mean(0),
}
WAYS = {**EVEN, **UNEVEN}


def network(way: Way) -> Way:
    def forward(x: Tensor) -> Tensor:
        y = F.relu(NET.norm(NET.a(x)))
        flat = way(y).reshape(len(x), -1)
        out: Tensor = F.linear(flat, HEAD.weight[:, : flat.shape[1]], HEAD.bias)
        return out

    return forward


def check(model: Way, x: Tensor, rule: str) -> None:
    """The walk with kernels and without, and what `bm.local_affine` finds by autograd."""
    found, form = compare(model, x, rule), bm.local_affine(model, x, 1)
    torch.testing.assert_close(found.single.flatten(1).sum(1), form.bias, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        (form.weight * x).flatten(1).sum(1) + form.bias, model(x)[:, 1], rtol=1e-9, atol=1e-9
    )
    one = bm.BiasBackprop(model, rule).attribute(x, 1, internal_batch_size=1)
    assert isinstance(one, Tensor)
    assert_close(found.single, one, 1e-10)


@pytest.mark.parametrize("way", WAYS)
def test_gradients(way: str) -> None:
    if "another format" not in way:
        assert_plain(network(WAYS[way]), picture(2))


@pytest.mark.parametrize("way", ALONE)
def test_gradients_of_one_sample(way: str) -> None:
    assert_plain(network(ALONE[way]), picture(1))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", [way for way in WAYS if "another format" not in way])
def test_maps(way: str, rule: str) -> None:
    check(network(WAYS[way]), picture(2), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", ALONE)
def test_maps_of_one_sample(way: str, rule: str) -> None:
    check(network(ALONE[way]), picture(1), rule)


@pytest.mark.parametrize("way", ["sum of everything", "mean over the sample"])
def test_samples_are_not_added_up(way: str) -> None:
    def model(x: Tensor) -> Tensor:
        return x[:, :, 0, 0] + ALONE[way](F.relu(x)).sum()

    with pytest.raises(bm.SampleAxisError, match="internal_batch_size=1"):
        bm.local_affine(model, picture(2), 1)


@pytest.mark.parametrize("rule", RULES)
def test_a_mean_in_another_format(rule: str) -> None:
    def model(x: Tensor) -> Tensor:
        return network(WAYS["mean in another format"])(x)

    found = bm.BiasBackprop(model, rule).explain(picture(2), 1)
    wanted = bm.BiasBackprop(network(EVEN["mean of one axis"]), rule).explain(picture(2), 1)
    assert found.complete
    torch.testing.assert_close(found.single, wanted.single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_which_go_back_by_themselves(way: str) -> None:
    steps = record(network(WAYS[way]), (picture(2),), 1, Options()).steps
    reduced = [s for s in steps if s.node.call.op in ("mean", "sum") or "pool" in s.node.call.op]
    assert reduced
    assert all(s.form.transpose is not None for s in reduced) == (way in EVEN)


@pytest.mark.parametrize("factor", [1.0, 0.25, -3.0])
@pytest.mark.parametrize("axes", [(1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_totals_are_those_of_matrices(exponent: int, axes: tuple[int, ...], factor: float) -> None:
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    sizes = [factor, *(1.0 for _ in axes[1:])]
    matrices = {a: x.new_full((1, x.shape[a]), n) for a, n in zip(axes, sizes, strict=True)}
    made, written_out = TotalMap(axes, factor), SeparableMap(matrices)
    one, other = made.power(exponent, x), written_out.power(exponent, x)
    wanted = other.forward(x)
    torch.testing.assert_close(one.forward(x), wanted)
    torch.testing.assert_close(one.transpose(wanted), other.transpose(wanted))
    back = written_out.power(1, x).transpose(wanted) * (1 if factor > 0 else -1)
    torch.testing.assert_close(made.back(wanted, x), back)
    mine, theirs = made.connections(x), written_out.connections(x)
    torch.testing.assert_close(mine.coefficients, theirs.coefficients)
    torch.testing.assert_close(mine.inputs, theirs.inputs)


def test_coefficients_of_0_are_no_connections() -> None:
    x = torch.ones(2, 3).double()
    none = TotalMap((1,), 0.0)
    assert none.power(0, x).forward(x).tolist() == [[0], [0]]
    assert none.power(0, x).transpose(x[:, :1]).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_the_mean_of_a_short_format_is_rounded_once(kind: torch.dtype) -> None:
    x = torch.ones(1, 2, 7, 7, dtype=kind)
    grad = torch.ones(1, 2, 1, 1, dtype=kind)
    back = TotalMap((2, 3), 1 / 49).back(grad, x)
    assert torch.equal(back, (grad / 49).expand(x.shape))
