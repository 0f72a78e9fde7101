"""Dense replicas of first-order operations, by the formulas that their docstrings give.

Normalisations and softmax keep unit p's bias at input p; functions of one input fold like slopes;
products split by the rule over ``e = J x``, unscaled; a product of two activations' matrices gives
half of a unit's bias to each.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.case import Case, assert_replicas_agree
from tests.reference.links import Stage

SEED = torch.Generator().manual_seed(11)
W = torch.randn(6, 6, generator=SEED, dtype=torch.float64) / 2
B = torch.randn(6, generator=SEED, dtype=torch.float64)
CUBE = torch.randn(2, 3, 4, generator=SEED, dtype=torch.float64)


def smooth(op: Callable[[Tensor], Tensor], kind: str, *shape: int) -> Case:
    return Case.one(op, *shape, kind=kind, affine=False)


def after_linear(op: Callable[[Tensor], Tensor], kind: str) -> Case:
    """Behind a linear layer, so that what folds into it shows."""
    return Case(
        lambda x: op(F.linear(x, W, B)),
        (6,),
        lambda _: [Stage(lambda x: F.linear(x, W, B)), Stage(op, kind, affine=False)],  # type: ignore[arg-type]
    )


def group_norm(x: Tensor) -> Tensor:
    return F.group_norm(x, 2, B[:4], B[2:])


STAYING = {
    "softmax": smooth(lambda x: x.softmax(-1), "stay", 3, 4),
    "softmax_of_channels": smooth(lambda x: F.softmax(x, 1), "stay", 3, 2, 2),
    "log_softmax": smooth(lambda x: x.log_softmax(1), "stay", 5),
    "layer_norm": smooth(lambda x: F.layer_norm(x, (6,), W[0], B), "stay", 2, 6),
    "group_norm": smooth(group_norm, "stay", 4, 3),
    "instance_norm": smooth(lambda x: F.instance_norm(x), "stay", 2, 4),
    "rms_norm": smooth(lambda x: F.rms_norm(x, (6,), B), "stay", 6),
    "local_response": smooth(lambda x: F.local_response_norm(x, 3, k=2), "stay", 4, 2, 2),
    "linear_softmax": after_linear(lambda z: z.softmax(1), "stay"),
    "linear_layer_norm": after_linear(lambda z: F.layer_norm(z, (6,), W[0], B), "stay"),
}

SLOPES = {
    name: after_linear(op, "slope")
    for name, op in {
        "gelu": F.gelu,
        "silu": F.silu,
        "elu": F.elu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": F.softplus,
        "square": lambda z: z * z,
        "power": lambda z: z**3,
        "reciprocal": lambda z: 1 / z,
        "hardswish": F.hardswish,
    }.items()
}

REDUCTIONS = {
    "norm": smooth(lambda x: x.norm(dim=1), "apart", 3, 2),
    "var": smooth(lambda x: x.var(2), "apart", 2, 4),
    "std": smooth(lambda x: x.std((1, 2)), "apart", 2, 3, 2),
    "logsumexp": smooth(lambda x: x.logsumexp(1), "apart", 4, 2),
    "prod": smooth(lambda x: x.prod(1), "apart", 3, 2),
}

PRODUCTS = {
    "product": smooth(lambda x: x[:, 0] * x[:, 1], "apart", 2, 5),
    "broadcast": smooth(lambda x: x[:, :1] * x[:, 1:], "apart", 4),
    "quotient": smooth(lambda x: x[:, 0] / x[:, 1], "apart", 2, 5),
    "gated": Case(
        lambda x: F.linear(x, W, B)[:, :3] * F.linear(x, W, B)[:, 3:].sigmoid(),
        (6,),
        lambda _: [
            Stage(lambda x: F.linear(x, W, B), "apart"),
            Stage(lambda z: torch.cat([z[:, :3], z[:, 3:].sigmoid()], 1), "stay", affine=False),
            Stage(lambda z: z[:, :3] * z[:, 3:], "apart", affine=False),
        ],
    ),
    "normalized": Case(
        lambda x: F.normalize(x, dim=1),
        (4,),
        lambda _: [
            Stage(lambda x: torch.cat([x, x.norm(dim=1, keepdim=True)], 1), "apart", affine=False),
            Stage(lambda s: s[:, :4] / s[:, 4:], "apart", affine=False),
        ],
    ),
    "bilinear": Case(
        lambda x: F.bilinear(x[:, :3], x[:, 3:], CUBE, B[:2]),
        (7,),
        lambda _: [
            Stage(lambda x: torch.cat([wide(x[:, :3]), x[:, 3:]], 1), "apart"),
            Stage(lambda s: s[:, :8].reshape(-1, 2, 4) * s[:, None, 8:], "apart", affine=False),
            Stage(lambda z: z.sum(2)),
            Stage(lambda z: z + B[:2], "slope"),
        ],
    ),
}


def wide(x: Tensor) -> Tensor:
    return F.linear(x, CUBE.transpose(1, 2).reshape(8, 3))


@pytest.mark.parametrize("name", STAYING)
def test_what_mixes_without_weights_keeps_bias_in_place(name: str) -> None:
    assert_replicas_agree(STAYING[name])


@pytest.mark.parametrize("name", SLOPES)
def test_functions_of_one_input_fold(name: str) -> None:
    assert_replicas_agree(SLOPES[name])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_smooth_reductions(name: str) -> None:
    assert_replicas_agree(REDUCTIONS[name])


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str) -> None:
    assert_replicas_agree(PRODUCTS[name])
