"""The expanded and the direct form of the softmax rules equal the rule written out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.maps.transposed_conv import TransposedConvMap
from biasmatters.affine.mixing import Mixing
from biasmatters.rules import (
    RuleError,
    SoftmaxAbs,
    SoftmaxNegAbs,
    SoftmaxSigned,
    by_size,
    exponentials,
    plan,
    rows,
    sparse,
)
from biasmatters.rules.direct import split_directly
from biasmatters.rules.levels import levels

Softmax = SoftmaxAbs | SoftmaxNegAbs | SoftmaxSigned
TEMPERATURES = (0.02, 0.1, 0.5, 1.0, 7.0, 50.0)


@dataclass
class Layer:
    """A map with its input, bias and slopes, in float64."""

    mixing: Mixing
    x: Tensor
    tau: Tensor
    scale: Tensor | None

    def split(self, rule: Softmax, dtype: torch.dtype) -> Tensor:
        scale = None if self.scale is None else self.scale.to(dtype)
        mixing = as_dtype(self.mixing, dtype)
        return rule.split(mixing, self.x.to(dtype), self.tau.to(dtype), scale)[0].double()

    def written_out(self, rule: Softmax) -> Tensor:
        tau = self.tau if self.scale is None else self.tau.where(self.scale != 0, 0)
        return split_directly(rule.alpha, self.mixing, self.x, tau, self.scale)


def as_dtype(mixing: Mixing, dtype: torch.dtype) -> Mixing:
    match mixing:
        case DenseMap(weight):
            return DenseMap(weight.to(dtype))
        case ConvMap() | TransposedConvMap():
            return replace(mixing, weight=mixing.weight.to(dtype))
    raise AssertionError(mixing)


def make_layer(kind: str, slopes: str, holes: bool, seed: int) -> Layer:
    make = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=make)

    x = normal(2, 4, 7, 6).relu() * (normal(2, 4, 7, 6).sign() if seed % 2 else 1)
    if kind == "dense":
        weight = normal(5, 6) / 3
        mixing: Mixing = DenseMap(weight)
        shape = (2, 4, 7, 5)
    elif kind == "transposed":
        weight = normal(4, 3, 3, 2) / 3
        mixing = TransposedConvMap(weight, (2, 1), (1, 0), (1, 0), (1, 1), 1)
        shape = (2, 3, 14, 7)
    else:
        groups = {"plain": 1, "grouped": 2, "depthwise": 4}[kind]
        weight = normal(8, 4 // groups, 3, 2) / 3
        mixing = ConvMap(weight, (2, 1), ((1, 2), (0, 1)), (1, 2), groups)
        shape = (2, 8, 4, 5)
    if holes:
        weight[weight.abs() < 0.1] = 0
    # A unit that no input reaches hands nothing out.
    live = mixing.power(0, x).forward((x != 0).double()) > 0.5
    tau = normal(*shape) * live
    axis = 3 if kind == "dense" else 1
    row = [1] * 4
    row[axis] = shape[axis]
    own = normal(shape[axis]).reshape(row)
    mask = (normal(*shape) > 0).double()
    scale = {
        "none": None,
        "relu": mask,
        "batch_norm": own * mask,
        "leaky": own * (mask + 0.1 * (1 - mask)),
        "smooth": normal(*shape),
    }[slopes]
    return Layer(mixing, x, tau, scale)


layers = st.builds(
    make_layer,
    st.sampled_from(["plain", "grouped", "depthwise", "dense", "transposed"]),
    st.sampled_from(["none", "relu", "batch_norm", "leaky", "smooth"]),
    st.booleans(),
    st.integers(0, 10**6),
)
rules = st.sampled_from([SoftmaxNegAbs, SoftmaxAbs, SoftmaxSigned])
sized = st.sampled_from([SoftmaxNegAbs, SoftmaxAbs])


@pytest.fixture(
    scope="module",
    params=["cheapest", "expanded", "banded", "pieced", "listed", "tiled", "rows", "picked"],
)
def form(request: pytest.FixtureRequest) -> object:
    """Small layers would all be written out, in one block; the others see to the other ways."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param in ("expanded", "banded", "pieced"):
            patch.setattr(plan, "DIRECT", 1e9)
            patch.setattr(plan, "PICKED", 1e9)
        if request.param == "banded":
            patch.setattr(by_size, "BAND", 30)
        if request.param == "pieced":
            patch.setattr(plan, "PIECE", 60)
        if request.param in ("rows", "picked"):
            patch.setattr(rows, "SHORT", 1)
            patch.setattr(rows, "BLOCK", 50)
            patch.setattr(rows, "DENSE", 2.0 if request.param == "picked" else 0.0)
        if request.param == "listed":
            patch.setattr(rows, "SHORT", 1 << 30)
            patch.setattr(sparse, "FEW", 2.0)
            patch.setattr(sparse, "LISTED", 50)
        if request.param == "tiled":
            patch.setattr(exponentials, "GATHERED", 40)
            patch.setattr(exponentials, "BLOCK", 60)
        yield request.param


@settings(max_examples=60, deadline=None, derandomize=True)
@given(layer=layers, kind=rules, temperature=st.sampled_from(TEMPERATURES))
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_agrees_with_the_rule_written_out(
    form: str, dtype: torch.dtype, error: float, layer: Layer, kind: type, temperature: float
) -> None:
    wanted = layer.written_out(kind(temperature))
    found = layer.split(kind(temperature), dtype)
    assert float((found - wanted).norm()) <= error * float(wanted.norm()) + 1e-12
    total = float(layer.tau.sum() if layer.scale is None else layer.tau[layer.scale != 0].sum())
    size = float(layer.tau.abs().sum())
    assert float(found.sum()) == pytest.approx(total, abs=(1e-12 if error < 1e-9 else 1e-5) * size)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(layer=layers, kind=sized, digits=st.floats(2, 9))
def test_the_stated_tolerance_bounds_the_error(layer: Layer, kind: type, digits: float) -> None:
    """No unit's shares are off by more in sum, so neither is the map by more times |tau|."""
    tolerance = 10**-digits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "DIRECT", 1e9)
        patch.setattr(plan, "PICKED", 1e9)
        found = layer.split(kind(1.0, tolerance), torch.float64)
    off = float((found - layer.written_out(kind(1.0))).abs().sum())
    assert off <= tolerance * float(layer.tau.abs().sum()) + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_temperatures_out_of_any_range(form: str, dtype: torch.dtype) -> None:
    layer = make_layer("plain", "none", False, 3)
    size = layer.tau.abs().sum()
    cold = layer.split(SoftmaxNegAbs(1e-6), dtype)
    hard = split_directly(
        lambda e, present, tau, dim: torch.nn.functional.one_hot(
            e.abs().masked_fill(~present, torch.inf).argmin(dim), e.shape[dim]
        ).movedim(-1, dim).to(e.dtype),
        layer.mixing, layer.x, layer.tau, None,
    )  # fmt: skip
    assert float((cold - hard).abs().sum()) <= 1e-2 * size
    for kind in (SoftmaxNegAbs, SoftmaxAbs):
        warm = layer.split(kind(1e6), dtype)
        flat = split_directly(
            lambda e, present, tau, dim: present / present.sum(dim, True).clamp_min(1),
            layer.mixing, layer.x, layer.tau, None,
        )  # fmt: skip
        assert float((warm - flat).abs().sum()) <= 1e-5 * size
        assert bool(layer.split(kind(1e-6), dtype).isfinite().all())


@pytest.mark.parametrize("tolerance", [-1e-6, 0.5, 1e-20, float("nan"), "small"])
def test_a_tolerance_that_cannot_be_met_is_refused(tolerance: float) -> None:
    with pytest.raises(RuleError, match="give a number from 1e-13"):
        SoftmaxNegAbs(1.0, tolerance)


def test_levels_of_slopes() -> None:
    tau = torch.zeros(1, 2, 3)
    scale = torch.tensor([[[0.0, 2.0, 2.0], [0.5, -0.1, 0.5]]])
    found, alone = levels(scale, tau, 1)
    assert not alone
    assert [v.tolist() for v in found] == [[2.0, 0.5], [-1, pytest.approx(0.1)]]
    assert [v.tolist() for v in levels(None, tau, 1)[0]] == [[1, 1]]
    assert levels(0 * scale, tau, 1)[0] == []


@pytest.mark.parametrize("kind", [SoftmaxNegAbs, SoftmaxAbs, SoftmaxSigned])
@pytest.mark.parametrize("temperature", [1e-45, 1e-40, 1e-37, 1e30, 1e300])
def test_temperatures_beyond_the_number_format(form: str, kind: type, temperature: float) -> None:
    """All bias arrives, at one input in the cold and evenly in the warm."""
    for seed in range(4):
        layer = make_layer("plain", "batch_norm", seed % 2 == 0, seed)
        found = layer.split(kind(temperature), torch.float32)
        carried = layer.tau.where(layer.scale != 0, 0) if layer.scale is not None else layer.tau
        size = float(carried.abs().sum())
        assert float(found.sum()) == pytest.approx(float(carried.sum()), abs=1e-5 * size)
        if temperature > 1:
            even = layer.written_out(kind(1e9))
            assert float((found - even).abs().sum()) <= 1e-4 * size
        else:
            cold = layer.written_out(kind(1e-9))
            assert float((found - cold).abs().sum()) <= 1e-3 * size
