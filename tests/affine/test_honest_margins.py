"""Nothing is 'exact' that moves: cuts are named, jumps have a margin."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.form import elementwise

X = torch.tensor([[1.05, 0.5, -0.3]], dtype=torch.float64)
JUMPS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "floor_division": (lambda x: torch.div(x, 0.5, rounding_mode="floor"), 0.0),
    "truncated": (lambda x: torch.div(x[:, :1], 0.5, rounding_mode="trunc"), 0.05),
    "by_a_tensor": (
        lambda x: torch.div(x[:, :1], torch.tensor([[-0.5]]).double(), rounding_mode="floor"),
        0.05,
    ),
    "tenths": (lambda x: torch.round(x[:, 1:2] + 0.04, decimals=1), 0.01),
    "hundreds": (lambda x: torch.round(x[:, :1] + 40, decimals=-2), 8.95),
    "whole": (lambda x: torch.round(x[:, :1]), 0.45),
    "clamp_by_tensors": (
        lambda x: x[:, :1].clamp(torch.zeros(3).double() - 1, torch.full((1,), 2.0).double()),
        0.95,
    ),
}


@pytest.mark.parametrize("name", JUMPS)
def test_jumps(name: str) -> None:
    net, wanted = JUMPS[name]
    certificate = bm.local_affine(net, X, 0).certificate
    assert certificate.verdict == "exact"
    assert certificate.margin.tolist() == pytest.approx([wanted])


def test_a_divisor_that_moves_has_no_measured_margin() -> None:
    form = bm.local_affine(lambda x: x + torch.div(3.0, x, rounding_mode="floor"), X, 0)
    assert bool(form.certificate.margin.isnan().all())


def test_counts_have_no_measured_margin() -> None:
    def net(x: Tensor) -> Tensor:
        return x + torch.histc(x, 3, -2, 2)

    assert bool(bm.local_affine(net, X, 0).certificate.margin.isnan().all())


CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "copy": lambda x: x + copy.copy(x * 2),
    "format": lambda x: x * float(f"{x[0, 0] * 2:.5f}"),
    "float": lambda x: x * float(x[0, 0] * 2),
    "item": lambda x: x * (x[0, 0] * 2).item(),
    "tensor": lambda x: x + torch.tensor([x[0, 0] * 2, 1.0, 2.0]),
    "linspace": lambda x: x + torch.linspace(0, x[0, 0] * 2, 3, dtype=x.dtype),
    "new_tensor": lambda x: x + x.new_tensor([x[0, 0] * 2, 1.0, 2.0]),
}


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("name", CUTS)
def test_cuts_are_named(name: str) -> None:
    certificate = bm.local_affine(CUTS[name], X, 0).certificate
    assert certificate.verdict == "first-order"
    assert certificate.first_order_ops


def test_constants_in_the_type_of_the_input_are_no_cuts() -> None:
    def net(x: Tensor) -> Tensor:
        return x + x.new_tensor([1.0, 2.0, 3.0]) + x.new([3.0, 2.0, 1.0])

    assert bm.local_affine(net, X, 0).certificate.verdict == "exact"


def test_backward_hooks_that_only_look_leave_a_model_exact() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    net[1].register_full_backward_hook(lambda module, grad_in, grad_out: None)
    certificate = bm.local_affine(net, X, 0).certificate
    assert certificate.passed
    assert certificate.verdict == "exact"


def test_the_documented_operation_of_ones_own_is_first_order() -> None:
    """The README's example, as it stands there: a curved function is made with `smooth`."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "cube" in block
    )
    names: dict[str, Any] = {"torch": torch, "bm": bm}
    exec(example, names)
    net = nn.Linear(3, 2).double()

    def cubed(x: Tensor) -> Tensor:
        return net(names["cube"](x))

    form = bm.local_affine(cubed, X, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "first-order"
    assert bm.BiasBackprop(cubed, "uniform").explain(X, 0).complete


def test_a_certificate_says_in_words_whether_it_passed() -> None:
    certificate = bm.local_affine(nn.Linear(3, 2).double(), X, 0).certificate
    assert str(certificate).startswith("exact, passed")
    failed = replace(certificate, residual=torch.ones(1))
    assert str(failed).startswith("exact, FAILED: largest residual 1.0e+00")


def test_a_piecewise_operation_of_ones_own_has_a_margin() -> None:
    hinge = torch.overrides.wrap_torch_function(lambda x: (x,))(lambda x: (x - 1).clamp(min=0))

    def handler(call: bm.Call) -> bm.Form:
        x = call.inputs[0].detach()
        on = (x > 1).double()
        return elementwise(call, lambda: on, lambda: -on, gap=lambda: (x - 1).abs())

    bm.register_op(hinge, handler)
    form = bm.local_affine(lambda x: hinge(x) + x, X, 0)
    assert form.certificate.passed
    assert form.certificate.verdict == "exact"
    assert form.certificate.margin.tolist() == pytest.approx([0.05])
