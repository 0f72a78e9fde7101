"""What leaves the samples along the first axis is seen at once, and as it is seen by labels."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine import axis
from biasmatters.affine.recording import Options, record
from tests.affine.nets import seeded

# As many samples as rows and columns of a square: nothing can be told by sizes alone.
SAMPLES = 4
LAYER, HEAD = seeded(nn.Linear(4, 4)), seeded(nn.Linear(16, 3))
ONES = torch.randn(SAMPLES, 4, 4, generator=torch.Generator().manual_seed(1)).double()
Model = Callable[[Tensor], Tensor]

KEEPING: dict[str, Model] = {
    "view": lambda z: z.view(len(z), 16),
    "view of -1": lambda z: z.view(len(z), -1, 2),
    "view, rows apart": lambda z: z.view(len(z), 2, 2, 2, 2),
    "reshape": lambda z: z.reshape(len(z), 2, 8),
    "reshape of a transposed": lambda z: z.transpose(1, 2).reshape(len(z), -1),
    "flatten": lambda z: z.flatten(1),
    "flatten within": lambda z: z.view(len(z), 2, 2, 4).flatten(1, 2),
    "a sum": lambda z: z + z.relu(),
    "a sum in place": lambda z: z.mul(2).add_(z),
    "a sum with a constant": lambda z: z + ONES[: len(z)],
    "a difference": lambda z: torch.sub(z, z.relu(), alpha=2),
    "a difference from a number": lambda z: z.sub(0.5),
    "a product": lambda z: z * z.relu(),
    "a product with a constant": lambda z: z.mul(ONES[: len(z)]),
}
AT_ONCE: dict[str, Model] = {
    **{way: KEEPING[way] for way in ("view", "reshape", "flatten", "a product with a constant")},
    "a sum": lambda z: z + z * 2,
    "a difference": lambda z: z - z * 2,
    "a product": lambda z: z * (z * 2),
}
FOLLOWED: dict[str, Model] = {
    "samples laid in rows": lambda z: z.view(len(z) * 4, 4).view(-1, 2, 2).reshape(-1, 16),
    "all in one row": lambda z: z.flatten().view(-1, 16),
    "a constant for each column": lambda z: z + ONES[0],
    "a constant with an axis more": lambda z: (z[:, 0] + ONES[:, :1, :]).transpose(0, 1),
    "moved and moved back": lambda z: (z.transpose(0, 1) + z.transpose(0, 1)).transpose(0, 1),
    "a product with samples second": lambda z: (z.mT.transpose(0, 1) * 2).transpose(0, 1),
}
MIXING: dict[str, Model] = {
    "permuted, then reshaped": lambda z: z.permute(1, 0, 2).reshape(4, 16),
    "permuted, then flattened": lambda z: z.transpose(0, 1).flatten(1),
    "permuted, then viewed": lambda z: z.transpose(0, 1).contiguous().view(4, 2, 8).flatten(1),
    "two samples in a row": lambda z: z.view(2, 32).view(4, 16),
    "all in a row, then columns": lambda z: z.flatten().view(16, 4).T,
    "a sum with samples second": lambda z: z + z.transpose(0, 1),
    "a difference": lambda z: z.transpose(0, 1) - z,
    "a product": lambda z: z * z.permute(2, 1, 0),
    "a sum of another rank": lambda z: z + z[:, 0],
}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(SAMPLES, 4, 4, generator=torch.Generator().manual_seed(0)).double()


def network(way: Model) -> Model:
    def forward(x: Tensor) -> Tensor:
        out: Tensor = HEAD(way(LAYER(x)).reshape(len(x), -1).repeat(1, 4)[:, :16])
        return out

    return forward


def axes(model: Model, x: Tensor) -> list[tuple[str, int]]:
    steps = record(model, (x,), 1, Options()).steps
    return [(step.node.call.op, step.node.axis) for step in steps]


@pytest.mark.parametrize("way", KEEPING)
def test_samples_stay_along_the_first_axis(way: str, x: Tensor) -> None:
    found = axes(network(KEEPING[way]), x)
    assert {place for op, place in found if op != "transpose"} == {0}
    with patch.object(axis, "_keeps_samples", lambda _: False):
        assert axes(network(KEEPING[way]), x) == found


@pytest.mark.parametrize("way", AT_ONCE)
def test_it_is_seen_at_once(way: str, x: Tensor) -> None:
    with patch.multiple(axis, _by_labels=None, _by_shape=None, mixed_axes=lambda _: set()):
        record(lambda t: AT_ONCE[way](t).flatten(1), (x,), 1, Options())


@pytest.mark.parametrize("way", FOLLOWED)
def test_samples_elsewhere_are_followed(way: str, x: Tensor) -> None:
    found = axes(network(FOLLOWED[way]), x)
    with patch.object(axis, "_keeps_samples", lambda _: False):
        assert axes(network(FOLLOWED[way]), x) == found


@pytest.mark.parametrize("way", [*KEEPING, *FOLLOWED])
def test_maps_are_those_of_one_sample_at_a_time(way: str, x: Tensor) -> None:
    model = network({**KEEPING, **FOLLOWED}[way])
    if "constant" in way and way in KEEPING:
        wanted = torch.cat([
            bm.BiasBackprop(network(lambda z, c=c: turned(way, z, c)), "softmax_neg_abs")
            .attribute(row, 1)
            for row, c in zip(x.split(1), ONES.split(1), strict=True)
        ])  # fmt: skip
    else:
        method = bm.BiasBackprop(model, "softmax_neg_abs")
        wanted = method.attribute(x, 1, internal_batch_size=1)
    found = bm.BiasBackprop(model, "softmax_neg_abs").explain(x, 1)
    assert found.complete
    torch.testing.assert_close(found.single, wanted)


def turned(way: str, z: Tensor, constant: Tensor) -> Tensor:
    """With a sample's own constant."""
    return z + constant if "sum" in way else z * constant


@pytest.mark.parametrize("way", MIXING)
def test_mixed(way: str, x: Tensor) -> None:
    model = network(MIXING[way])
    assert model(x).shape == (SAMPLES, 3)
    with pytest.raises(bm.SampleAxisError, match="internal_batch_size=1"):
        bm.local_affine(model, x, 1)
    with patch.object(axis, "_keeps_samples", lambda _: False), pytest.raises(bm.SampleAxisError):
        bm.local_affine(model, x, 1)
