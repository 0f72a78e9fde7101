"""Units without any contribution: the bias falls back as it was named, and is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.walker import Fallback
from tests.reference.case import Case, assert_agree, headed, leaky, manners
from tests.reference.links import Stage

SEED = torch.Generator().manual_seed(17)
W = torch.randn(4, 3, generator=SEED, dtype=torch.float64)
W[1, 2], W[3] = 0, 0
KERNEL = torch.randn(2, 2, 3, generator=SEED, dtype=torch.float64)


def quiet_patch(x: Tensor) -> Tensor:
    """Zeros where whole windows see nothing."""
    x[..., : max(2, x.shape[-1] // 2 + 1)] = 0
    return x


def quiet_rows(x: Tensor) -> Tensor:
    """One row of every sample is zero."""
    x[:, 0] = 0
    return x


def quiet_column(x: Tensor) -> Tensor:
    """What meets is zero in both branches."""
    x[..., 0] = 0
    return x


CASES: dict[str, tuple[Case, Callable[[Tensor], Tensor]]] = {
    "linear": (Case.one(lambda x: F.linear(x, W), 2, 3), quiet_rows),
    "conv": (Case.one(lambda x: F.conv1d(x, KERNEL, padding=1), 2, 6), quiet_patch),
    "grouped": (
        Case.one(lambda x: F.conv1d(x, KERNEL[:, :1], padding=1, groups=2), 2, 5), quiet_patch),
    "transposed": (
        Case.one(lambda x: F.conv_transpose1d(x, KERNEL, stride=2), 2, 4), quiet_patch),
    "pool": (Case.one(lambda x: F.avg_pool1d(x, 2, 1, padding=1), 1, 6), quiet_patch),
    "mean": (Case.one(lambda x: x.mean(2), 3, 2), quiet_rows),
    "cumsum": (Case.one(lambda x: x.cumsum(1), 4), quiet_rows),
    "add": (Case.one(lambda x: x[:, 0] + x[:, 1], 2, 3), quiet_column),
    "maximum": (
        Case.one(lambda x: torch.maximum(x[:, 0], x[:, 1]), 2, 3, affine=False), quiet_column),
    "products": (
        Case((lambda x: x[:, :2] @ x[:, 2:].mT), (4, 3), lambda _: [
            Stage(lambda x: x[:, :2] @ x[:, 2:].mT, "apart", False, (slice(6), slice(6, 12)))]),
        quiet_rows),
}  # fmt: skip


@pytest.mark.parametrize("fallback", get_args(Fallback))
@pytest.mark.parametrize("name", CASES)
def test_stranded_units(name: str, fallback: Fallback) -> None:
    torch.manual_seed(0)
    case, quiet = CASES[name]
    x = quiet(torch.randn(2, *case.shape, dtype=torch.float64))
    assert_agree(case, headed(leaky)(case.op(x)), x, list(manners(fallback, (True, False))))


@pytest.mark.parametrize("name", [n for n in CASES if n != "products"])
def test_the_fallbacks_differ(name: str) -> None:
    """Units are stranded there indeed, and what falls back is counted."""
    torch.manual_seed(0)
    case, quiet = CASES[name]
    x = quiet(torch.randn(2, *case.shape, dtype=torch.float64))
    head = nn.Linear(case.op(x)[0].numel(), 1).double()
    shift = torch.randn_like(case.op(x)[:1])

    def net(t: Tensor) -> Tensor:
        return head((case.op(t) + shift).flatten(1))

    uniform, dropped = (
        bm.BiasBackprop(net, "uniform", fallback=f).explain(x, 0) for f in ("uniform", "drop")
    )
    assert not torch.allclose(uniform.map, dropped.map)
    assert bool((dropped.certificate.fallback_mass > 0).all())
    torch.testing.assert_close(uniform.certificate.fallback_mass, dropped.certificate.fallback_mass)
    assert uniform.complete
    assert dropped.complete


@pytest.mark.parametrize("rule", bm.RULES)
def test_a_dead_layer_strands_bias_at_every_layer_below(rule: str) -> None:
    """All hidden units are off: the head's bias falls back twice, and reaches the input."""
    first, head = nn.Linear(3, 4).double(), nn.Linear(4, 1).double()
    nn.init.constant_(first.bias, -100)
    net, x = nn.Sequential(first, nn.ReLU(), head), torch.randn(2, 3, dtype=torch.float64)
    bias = head.bias.detach().expand(2)
    for fallback, times in (("uniform", 2), ("weight", 2), ("drop", 1)):
        found = bm.BiasBackprop(net, rule, fallback=fallback).explain(x, 0)
        torch.testing.assert_close(found.certificate.fallback_mass, times * bias.abs())
        kept = bias if times == 2 else 0 * bias
        torch.testing.assert_close(found.map.sum(1), kept)
        assert found.complete
    even = bm.BiasBackprop(net, rule).explain(x, 0).map
    torch.testing.assert_close(even, (bias / 3).unsqueeze(1).expand(2, 3))
