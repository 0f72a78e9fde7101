"""Every rule on every kind of mixing operation equals the dense replica, in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters import RULES
from tests.reference.dense import Block, dense_bbp, localise

Maker = Callable[[], tuple[nn.Module, list[Block], tuple[int, ...]]]


def seeded(module: nn.Module) -> nn.Module:
    """Random parameters and statistics, so that no term can hide."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return module.double().eval()


def stack(
    *parts: nn.Module, pairs: list[tuple[list[int], list[int]]]
) -> tuple[nn.Module, list[Block]]:
    """A sequential network and its blocks, given as positions of affine parts and activations."""
    net = seeded(nn.Sequential(*parts))

    def run(positions: list[int]) -> Callable[[Tensor], Tensor]:
        def go(x: Tensor) -> Tensor:
            for i in positions:
                x = net[i](x)
            return x

        return go

    return net, [Block(run(lin), run(act)) for lin, act in pairs]


def mlp() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.LeakyReLU(0.2), nn.Linear(7, 3),
        pairs=[([0], [1]), ([2], [3]), ([4], [])],
    )  # fmt: skip
    return net, blocks, (6,)


def saturating() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Linear(6, 9), nn.Hardtanh(-0.4, 0.4), nn.Linear(9, 7), nn.ReLU6(), nn.Linear(7, 3),
        pairs=[([0], [1]), ([2], [3]), ([4], [])],
    )  # fmt: skip
    return net, blocks, (6,)


def conv_bn() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding="same", groups=2, dilation=2), nn.PReLU(4),
        nn.Flatten(), nn.Linear(36, 3),
        pairs=[([0, 1], [2]), ([3], [4]), ([5], []), ([6], [])],
    )  # fmt: skip
    return net, blocks, (2, 6, 5)


def depthwise() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv2d(3, 6, 3, groups=3, bias=True), nn.ReLU6(), nn.AvgPool2d(2, padding=1),
        nn.Conv2d(6, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2),
        pairs=[([0], [1]), ([2], []), ([3], [4]), ([5], []), ([6], []), ([7], [])],
    )  # fmt: skip
    return net, blocks, (3, 6, 6)


def with_holes() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv2d(2, 9, 3), nn.BatchNorm2d(9), nn.Conv2d(9, 8, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 2),
        pairs=[([0, 1], []), ([2, 3], [4]), ([5], []), ([6], []), ([7], [])],
    )  # fmt: skip
    with torch.no_grad():
        net[2].weight[1], net[2].weight[3, 5], net[5].weight[:, 6] = 0, 0, 0
    return net, blocks, (2, 6, 6)


def max_pooled() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3),
        pairs=[([0], [1]), ([2], []), ([3], []), ([4], [])],
    )  # fmt: skip
    return net, blocks, (1, 6, 6)


def transposed() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(), nn.Linear(24, 3),
        pairs=[([0], [1]), ([2], []), ([3], []), ([4], [])],
    )  # fmt: skip
    return net, blocks, (2, 3, 3)


def one_dimension() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool1d(3, 2, ceil_mode=True,
        count_include_pad=False, padding=1), nn.ConvTranspose1d(3, 2, 2, stride=2, dilation=2),
        nn.ReLU(), nn.Flatten(), nn.Linear(22, 2),
        pairs=[([0], [1]), ([2], []), ([3], [4]), ([5], []), ([6], [])],
    )  # fmt: skip
    return net, blocks, (2, 8)


def three_dimensions() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv3d(1, 2, 2, padding=1), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(16, 2),
        pairs=[([0], [1]), ([2], []), ([3], []), ([4], [])],
    )  # fmt: skip
    return net, blocks, (1, 3, 3, 3)


def upsampled() -> tuple[nn.Module, list[Block], tuple[int, ...]]:
    net, blocks = stack(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(2, 1, 3), nn.Hardtanh(), nn.Flatten(), nn.Linear(36, 2),
        pairs=[([0], [1]), ([2], []), ([3], [4]), ([5], []), ([6], [])],
    )  # fmt: skip
    return net, blocks, (1, 6, 6)


MAKERS: list[Maker] = [
    mlp, saturating, conv_bn, depthwise, with_holes, max_pooled, transposed, one_dimension,
    three_dimensions, upsampled,
]  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
def test_every_rule_equals_the_dense_replica(maker: Maker) -> None:
    torch.manual_seed(1)
    net, blocks, shape = maker()
    x = torch.randn(2, *shape, dtype=torch.float64)
    x[:, 0].clamp_(min=0)
    target = [0, 1]
    local = [localise(blocks, x[i : i + 1]) for i in range(2)]
    for rule, temperature in product(RULES, (0.2, 3.0)):
        found = bm.BiasBackprop(net, rule, temperature).explain(x, target)
        for i, k in enumerate(target):
            wanted = dense_bbp(local[i], k, rule, temperature)
            np.testing.assert_allclose(
                found.map[i].flatten(), wanted, rtol=1e-9, atol=1e-12, err_msg=rule
            )
        assert found.complete
        assert float(found.residual.max()) < 1e-9


@pytest.mark.parametrize("rule", RULES)
def test_residual_addition_splits_over_its_branches(rule: str) -> None:
    """``relu(a(x)) + relu(b(x))`` as a block ``[I I]`` over both branches side by side."""
    torch.manual_seed(2)
    a, b, last = (seeded(nn.Linear(*s)) for s in ((5, 4), (5, 4), (4, 2)))

    def net(x: Tensor) -> Tensor:
        return last(F.relu(a(x)) + F.relu(b(x)))

    both = Block(lambda x: torch.cat([a(x), b(x)], 1), F.relu)
    meet = Block(lambda s: s[:, :4] + s[:, 4:])
    x = torch.randn(1, 5, dtype=torch.float64)
    found = bm.BiasBackprop(net, rule, 0.7).explain(x, 1)
    wanted = dense_bbp(localise([both, meet, Block(last)], x), 1, rule, 0.7)
    np.testing.assert_allclose(found.map.flatten(), wanted, rtol=1e-9, atol=1e-12)


def test_without_folding_batch_norm_does_not_scale_the_contributions() -> None:
    torch.manual_seed(3)
    net = seeded(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)))
    blocks = [Block(net[0]), Block(net[1]), Block(lambda x: x, net[2]), Block(net[3])]
    x = torch.randn(1, 5, dtype=torch.float64)
    apart = bm.BiasBackprop(net, "softmax_abs", 0.5, fold=False).explain(x, 0).map
    folded = bm.BiasBackprop(net, "softmax_abs", 0.5, fold=True).explain(x, 0).map
    wanted = dense_bbp(localise(blocks, x), 0, "softmax_abs", 0.5)
    np.testing.assert_allclose(apart.flatten(), wanted, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(apart, folded)
    torch.testing.assert_close(apart.sum(), folded.sum())
