"""Dense replicas of operations that move values: bias goes where the value came from.

Bias that lands on a constant has no input to go to, and is spread evenly over all of the sample's.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.case import Case, assert_replicas_agree
from tests.reference.links import Stage

SEED = torch.Generator().manual_seed(7)
TOKEN = torch.randn(1, 2, generator=SEED, dtype=torch.float64)
KERNEL = torch.randn(2, 1, 3, 2, generator=SEED, dtype=torch.float64)
MASK = torch.tensor([True, False, True, True, False, True])


def moved(op: object, *shape: int, affine: bool = True) -> Case:
    return Case.one(op, *shape, kind="route", affine=affine)  # type: ignore[arg-type]


def written(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1] = x[:, 0]
    y[:, 2] = 0.7
    return y


def first_write(x: Tensor) -> Tensor:
    return torch.stack([x[:, 0], x[:, 0], x[:, 2], x[:, 3]], 1)


COPIES = {
    "concat": moved(lambda x: torch.cat([x[:, 1:], x, x[:, :1]], 1), 3, 2),
    "stack": moved(lambda x: torch.stack([x[:, 0], x[:, 1]], 2), 2, 3),
    "unfold": moved(lambda x: F.unfold(x, 2, stride=1), 2, 3, 3),
    "sliding": moved(lambda x: x.unfold(1, 3, 2), 7),
    "reflected": moved(lambda x: F.pad(x, (2, 1), mode="reflect"), 2, 4),
    "circular": moved(lambda x: F.pad(x, (1, 1, 0, 2), mode="circular"), 1, 3, 3),
    "flip_roll": moved(lambda x: x.flip(1).roll(1, 2), 3, 2),
    "gathered": moved(lambda x: x[:, [2, 0, 2]], 4),
    "repeated": moved(lambda x: x.repeat(1, 2), 3),
    "nearest": moved(lambda x: F.interpolate(x, size=(3, 4)), 1, 2, 3),
    "shuffled": moved(lambda x: F.pixel_shuffle(x, 2), 4, 2, 1),
    "max_pool": moved(lambda x: F.max_pool2d(x, 2, 1, 1), 1, 3, 4, affine=False),
    "adaptive_max": moved(lambda x: F.adaptive_max_pool1d(x, 2), 2, 5, affine=False),
    "amax": moved(lambda x: x.amax(2), 3, 4, affine=False),
    "sorted": moved(lambda x: x.sort(1).values, 5, affine=False),
    "topk": moved(lambda x: x.topk(2, 1).values, 5, affine=False),
}

ORPHANS = {
    "padded": moved(lambda x: F.pad(x, (1, 2), value=0.5), 2, 3),
    "zero_padded": moved(lambda x: F.pad(x, (1, 0, 0, 1)), 1, 2, 3),
    "unfold_padded": moved(lambda x: F.unfold(x, 2, padding=1), 1, 3, 2),
    "token": moved(lambda x: torch.cat([TOKEN.expand(len(x), 1, 2), x], 1), 3, 2),
    "where": moved(lambda x: torch.where(MASK, x, 0.3), 6),
    "masked": moved(lambda x: x.masked_fill(MASK, -0.6), 2, 6),
    "triangle": moved(lambda x: x.tril(), 3, 3),
    "written": Case(
        written,
        (4,),
        lambda _: [
            Stage(first_write, "route"),
            Stage(lambda y: y.masked_fill(torch.arange(4) == 2, 0.7), "route"),
        ],
    ),
    "padded_conv": Case(
        lambda x: F.conv2d(F.pad(x, (1, 2, 2, 1), value=0.4), KERNEL, TOKEN[0]),
        (1, 2, 3),
        lambda _: [
            Stage(lambda x: F.pad(x, (1, 2, 2, 1), value=0.4), "route"),
            Stage(lambda x: F.conv2d(x, KERNEL, TOKEN[0])),
        ],
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies(name: str) -> None:
    assert_replicas_agree(COPIES[name])


@pytest.mark.parametrize("name", ORPHANS)
def test_constants_among_the_values(name: str) -> None:
    assert_replicas_agree(ORPHANS[name])


@pytest.mark.parametrize("name", ["padded", "token", "padded_conv"])
def test_constants_among_the_values_dropped(name: str) -> None:
    assert_replicas_agree(ORPHANS[name], "drop")
