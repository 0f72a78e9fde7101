"""The margin knows choices that are no activations: order, comparisons, masks, indices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import biasmatters as bm

X = torch.tensor([[1.0, 1.5, -3.0], [4.0, 2.0, 2.5]], dtype=torch.float64)
CASES: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "amax": (lambda x: x.amax(1, keepdim=True), [0.25, 0.75]),
    "amin": (lambda x: x.amin(1, keepdim=True), [2.0, 0.25]),
    "max": (lambda x: x.max(1, keepdim=True).values, [0.25, 0.75]),
    "ties": (lambda x: torch.cat([x, x], 1).amax(1, keepdim=True), [0.25, 0.75]),
    "sort": (lambda x: x.sort(1).values, [0.25, 0.25]),
    "topk": (lambda x: x.topk(2, 1).values, [0.25, 0.25]),
    "mask": (lambda x: (x > 0.5) * x, [0.5, 1.5]),
    "two_sides": (lambda x: (x > x.flip(1) + 0.25) * x, [0.125, 0.125]),
    "where": (lambda x: torch.where(x > 2.25, x * 2, x), [0.75, 0.25]),
    "window": (lambda x: F.max_pool1d(x[:, None], 2, 1)[:, 0], [0.25, 0.25]),
    "window_with_indices": (
        lambda x: F.max_pool1d(x[:, None], 2, 1, return_indices=True)[0][:, 0],
        [0.25, 0.25],
    ),
    "adaptive": (lambda x: F.adaptive_max_pool1d(x[:, None], 2)[:, 0], [0.25, 0.25]),
    "adaptive_even": (lambda x: F.adaptive_max_pool1d(x[:, None], 1)[:, 0], [0.25, 0.75]),
    "adaptive_uneven": (
        lambda x: F.adaptive_max_pool2d(x[:, None, :, None] * 2, (2, None))[:, 0, :, 0],
        [0.5, 0.5],
    ),
    "fixed_mask": (lambda x: torch.where(torch.eye(3)[:1] > 0, x * 2, x), [torch.inf] * 2),
}


@pytest.mark.parametrize("case", CASES)
def test_margin(case: str) -> None:
    net, wanted = CASES[case]
    found = bm.local_affine(net, X, 0).certificate.margin
    assert found.tolist() == pytest.approx(wanted)


def test_an_index_found_from_the_values_has_no_measured_margin() -> None:
    def net(x: Tensor) -> Tensor:
        return x.gather(1, x.argsort(1))

    assert bool(bm.local_affine(net, X, 0).certificate.margin.isnan().all())
