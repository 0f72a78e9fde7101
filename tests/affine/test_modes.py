"""Without gradients, whatever mode the caller is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import nn

import biasmatters as bm
from biasmatters.affine.modes import without_gradients

CALLERS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "none": nullcontext,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference": torch.inference_mode,
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
def test_tensors_need_no_grad_and_can_be_written_to_later(
    caller: Callable[[], AbstractContextManager[object]],
) -> None:
    weight = torch.ones(3, requires_grad=True)
    with caller():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with without_gradients():
            made = weight * 2
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert not made.requires_grad
    assert not made.is_inference()
    made.add_(1)


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
def test_maps_and_certificates_are_plain_tensors(
    caller: Callable[[], AbstractContextManager[object]],
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    with caller():
        found = bm.BiasBackprop(net, "uniform").explain(torch.rand(2, 2, 4, 4), 0)
    assert found.complete
    for made in (found.map, found.certificate.residual, found.certificate.injected_mass):
        assert not made.is_inference()
        assert not made.requires_grad
