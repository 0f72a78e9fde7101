"""Bias on a model's own padding has no input to go to: it is shared out, every number once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.kernels import without_kernels

PADS = [(1, 2), (0, 0, 0, 3), (2, 0, 1, 1), (0, 1, 1, 0, 0, 1), (1, 1, 1, 1)]


class Padded(nn.Module):
    """A convolution whose units all saturate, so that their bias goes over all inputs evenly."""

    def __init__(self, pads: tuple[int, ...], *, by_cat: bool) -> None:
        super().__init__()
        self.pads, self.by_cat = pads, by_cat
        torch.manual_seed(0)
        self.before = nn.Conv2d(2, 2, 1)
        self.conv = nn.Conv2d(2 + sum(pads[4:]), 3, 2)
        nn.init.constant_(self.conv.bias, 50)
        self.head = nn.LazyLinear(2)
        self.after: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        # A factor between, or the zeros would be the convolution's own (see below).
        x = (self._joined(x) if self.by_cat else F.pad(x, self.pads)) * 1.0
        out: Tensor = self.head(F.relu6(self.conv(x)).flatten(1))
        return out if self.after is None else out.to(self.after)

    def _joined(self, x: Tensor) -> Tensor:
        """The same by zeros set beside it, axis by axis."""
        for axis, pair in enumerate(zip(self.pads[::2], self.pads[1::2], strict=True), 1):
            low, high = (
                x.new_zeros([n if a == x.ndim - axis else s for a, s in enumerate(x.shape)])
                for n in pair
            )
            x = torch.cat([low, x, high], -axis)
        return x


def explained(
    pads: tuple[int, ...], fallback: Literal["uniform", "weight", "drop"], *, by_cat: bool
) -> bm.types.Attribution:
    network = Padded(pads, by_cat=by_cat).double()
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        network(x)
        torch.manual_seed(2)
        nn.init.normal_(network.head.weight)
    return bm.BiasBackprop(network.eval(), "uniform", fallback=fallback).explain(x, 0)


@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
@pytest.mark.parametrize("pads", PADS)
def test_padding_is_the_same_as_zeros_set_beside(
    pads: tuple[int, ...], fallback: Literal["uniform", "weight", "drop"]
) -> None:
    found = explained(pads, fallback, by_cat=False)
    wanted = explained(pads, fallback, by_cat=True)
    torch.testing.assert_close(found.map, wanted.map)
    assert found.complete
    assert wanted.complete
    if fallback != "drop":
        assert float(found.single.abs().sum()) > 1


def test_what_lands_on_padding_keeps_the_precision_of_the_bias() -> None:
    maps = []
    for after in (None, torch.float16):
        network = Padded((2, 1, 3, 0), by_cat=False).double()
        x = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
        with torch.no_grad():
            network(x)
        torch.manual_seed(2)
        nn.init.normal_(network.head.weight)
        network.after = after
        maps.append(bm.BiasBackprop(network.eval(), "uniform").explain(x, 0).single)
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-9, atol=1e-12)


class Framed(nn.Module):
    """Convolutions of what is padded, by the model or by the convolution."""

    def __init__(self, pads: tuple[int, ...], axes: int, *, own: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pads, self.own, self.axes = (*pads, *(0,) * (2 * axes - len(pads))), own, axes
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.wide = max(pads) if own else 0
        self.first = kind(2, 4, 2, padding=self.wide)
        self.deep = kind(4, 4, 3, padding=self.wide, groups=4, bias=False)
        self.head = nn.LazyLinear(2)
        self.first.bias.data = torch.tensor([9.0, 0.3, -0.2, 0.5])

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.first, self.deep):
            x = self._run(conv, x)
        out: Tensor = self.head(x.flatten(1))
        return out

    def _run(self, conv: nn.Module, x: Tensor) -> Tensor:
        # Some units hold a bound, so that their bias takes the fallback.
        if not self.own:
            return F.relu6(conv(F.pad(x, self.pads)))
        x = F.relu6(conv(x))
        for axis, (low, high) in enumerate(zip(self.pads[::2], self.pads[1::2], strict=True), 1):
            size = x.shape[-axis] - 2 * self.wide + low + high
            x = x.narrow(-axis, self.wide - low, size)
        return x


def framed(
    pads: tuple[int, ...], rule: str, fallback: str, shape: tuple[int, ...], *, own: bool
) -> bm.types.Attribution:
    network = Framed(pads, len(shape) - 2, own=own).double()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    x[:, :, 0] = 0  # units without a contribution
    with torch.no_grad():
        network(x)
        torch.manual_seed(2)
        nn.init.normal_(network.head.weight)
    method = bm.BiasBackprop(network.eval(), rule, fallback=fallback)  # type: ignore[arg-type]
    return method.explain(x, 0)


RULES = ["uniform", "proportional", "softmax_abs", "softmax_neg_abs", "softmax_signed"]
FRAMES = [
    ((2, 3, 7), (1, 2)), ((2, 2, 6, 5), (1, 2)), ((2, 2, 6, 5), (0, 1, 2, 0)),
    ((1, 2, 6, 7), (1, 1, 1, 1)), ((1, 2, 4, 5, 4), (1, 0, 0, 1, 2, 1)),
]  # fmt: skip


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("fallback", ["uniform", "weight", "drop"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("shape", "pads"), FRAMES)
def test_who_sets_the_zeros_makes_no_difference(
    shape: tuple[int, ...], pads: tuple[int, ...], rule: str, fallback: str, *, fast: bool
) -> None:
    shape = (shape[0], 2, *shape[2:])
    with nullcontext() if fast else without_kernels():
        found = framed(pads, rule, fallback, shape, own=False)
        wanted = framed(pads, rule, fallback, shape, own=True)
    torch.testing.assert_close(found.map, wanted.map, rtol=1e-9, atol=1e-12)
    assert found.complete
    assert float(found.single.abs().sum()) > 0.1


class Kept(nn.Module):
    """A padding that others look at as well, or that is explained itself."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.before, self.conv = kind, nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 3)
        self.filled = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(self.before(x), (1, 1, 1, 1))
        if self.kind == "beside":
            x = self.conv(x).relu() + F.max_pool2d(x, 3, 1)
        elif self.kind == "twice":
            x = self.conv(x).relu() + self.filled(x)
        elif self.kind == "filled":
            x = self.conv(F.pad(x, (0, 1, 1, 0), value=0.5)).relu()
        elif self.kind == "cropped":
            x = self.conv(F.pad(x, (-1, 1, 0, 0))).relu()
        elif self.kind == "again":
            x = self.conv(F.pad(x, (0, 2, 1, 0))).relu()
        else:
            self.conv(x)
        return x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("kind", ["beside", "twice", "filled", "cropped", "again", "explained"])
def test_paddings_that_others_look_at_lose_no_bias(kind: str) -> None:
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    model = Kept(kind).double().eval()
    found = bm.BiasBackprop(model, "uniform").explain(x, 0)
    assert found.complete
    local = bm.local_affine(model, x, 0)
    torch.testing.assert_close(found.map.flatten(1).sum(1), local.bias, rtol=1e-9, atol=1e-12)


def test_a_padded_convolution_has_its_own_name_alone() -> None:
    model = Framed((1, 0, 2, 1), 2, own=False).double()
    x = torch.randn(1, 2, 4, 5).double()
    with torch.no_grad():
        model(x)
    layers = bm.BiasBackprop(model.eval(), "uniform").explain(x, 0, layers=True).layers
    assert {"first", "deep"} <= set(layers)
    assert not any("pad" in name for name in layers)


@dataclass(frozen=True)
class Written:
    """A way to pad for a convolution, and a convolution that does it alone.

    Attributes:
        pad: Before the convolution.
        conv: What it has of its own, but for the padding.
        padding: What it has of its own.
        whole: The padding of the one that does it alone.
        crop: What of its output there is without it, for each axis.
        space: Of the input.
    """

    pad: Callable[[Tensor], Tensor]
    conv: dict[str, Any]
    padding: str | int | tuple[int, ...]
    whole: tuple[int, ...]
    crop: tuple[slice, ...] = ()
    space: tuple[int, ...] = (6, 7)

    def network(self, *, alone: bool) -> nn.Module:
        return Rewritten(self, alone=alone).double().eval()


def by(*pads: int, **how: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.pad(x, pads, **how)


WAYS = {
    "same": Written(by(1, 1, 2, 2), {"kernel_size": 3}, "same", (3, 2)),
    "same, dilated": Written(
        by(1, 1, 0, 0), {"kernel_size": (3, 5), "dilation": (2, 1), "groups": 2}, "same", (2, 3)
    ),
    "same, one more after": Written(
        by(0, 1, 1, 1), {"kernel_size": (2, 4)}, "same", (2, 3), (slice(1, None), slice(2, None))
    ),
    "same in one axis": Written(
        by(2, 2), {"kernel_size": 3, "dilation": 2}, "same", (4,), space=(7,)
    ),
    "valid": Written(by(1, 1, 2, 2), {"kernel_size": 3}, "valid", (2, 1)),
    "valid, with strides": Written(
        by(1, 1, 2, 2), {"kernel_size": (3, 2), "stride": (1, 2)}, "valid", (2, 1)
    ),
    "dilated": Written(by(2, 2, 0, 0), {"kernel_size": 3, "dilation": (1, 2)}, (0, 1), (0, 3)),
    "dilated groups with strides": Written(
        by(1, 1, 2, 2), {"kernel_size": 3, "dilation": 2, "stride": 2, "groups": 2}, 1, (3, 2)
    ),
    "depthwise": Written(
        by(2, 2, 1, 1), {"kernel_size": 3, "stride": (1, 2), "groups": 4}, (1, 0), (2, 2)
    ),
    "more before, with strides": Written(
        by(3, 1, 1, 2), {"kernel_size": (2, 3), "stride": (1, 2)}, 0, (2, 3),
        (slice(1, None), slice(None, -1)),
    ),
    "more after, with strides": Written(
        by(1, 3, 0, 0), {"kernel_size": 3, "stride": 2}, 0, (0, 3), (slice(None), slice(1, None))
    ),
    "groups in three axes": Written(
        by(1, 1, 0, 0, 2, 2), {"kernel_size": (2, 3, 2), "dilation": (1, 1, 2), "groups": 2},
        (0, 1, 0), (2, 1, 1), space=(3, 4, 5),
    ),
    "three axes, same": Written(
        by(1, 1), {"kernel_size": (1, 3, 3), "groups": 4}, "same", (0, 1, 2), space=(3, 4, 5)
    ),
    "constant_pad_nd": Written(
        lambda x: torch.constant_pad_nd(x, (2, 2, 1, 1)), {"kernel_size": 3}, 1, (2, 3)
    ),
    "ZeroPad1d": Written(nn.ZeroPad1d(2), {"kernel_size": 3}, 0, (2,), space=(7,)),
    "ZeroPad2d": Written(nn.ZeroPad2d((2, 2, 1, 1)), {"kernel_size": 3}, 0, (1, 2)),
    "ZeroPad3d": Written(nn.ZeroPad3d(1), {"kernel_size": 2}, 0, (1, 1, 1), space=(3, 4, 5)),
    "ConstantPad2d": Written(nn.ConstantPad2d((0, 0, 1, 1), 0.0), {"kernel_size": 3}, 0, (1, 0)),
    "a value of 0": Written(by(1, 1, mode="constant", value=0.0), {"kernel_size": 3}, 0, (0, 1)),
}  # fmt: skip


class Rewritten(nn.Module):
    """A convolution in between, whose zeros are set in two ways."""

    def __init__(self, way: Written, *, alone: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.alone = way, alone
        axes = len(way.space)
        convs: tuple[Any, ...] = nn.Conv1d, nn.Conv2d, nn.Conv3d
        self.before = convs[axes - 1](2, 4, 1)
        self.conv = convs[axes - 1](4, 4, **way.conv, padding=way.whole if alone else way.padding)
        self.conv.bias.data = torch.tensor([9.0, 0.3, -0.2, 0.5])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.before(x))
        if self.alone:
            # Some units hold a bound, so that their bias takes the fallback.
            x = F.relu6(self.conv(x))[(slice(None), slice(None), *self.way.crop)]
        else:
            x = F.relu6(self.conv(self.way.pad(x)))
        flat = x.flatten(1)
        weight = torch.linspace(-1, 2, flat.shape[1], dtype=x.dtype).sin()
        return (flat * weight).sum(1, keepdim=True)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("rule", ["uniform", "proportional", "softmax_abs"])
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write_a_padded_convolution_make_no_difference(
    way: str, rule: str, *, fast: bool
) -> None:
    written = WAYS[way]
    generator = torch.Generator().manual_seed(1)
    for samples in (1, 3):
        x = torch.randn(samples, 2, *written.space, generator=generator).double()
        x[:, :, 0] = 0
        networks = [written.network(alone=alone) for alone in (False, True)]
        torch.testing.assert_close(networks[0](x), networks[1](x))
        with nullcontext() if fast else without_kernels():
            found, wanted = (bm.BiasBackprop(network, rule).explain(x, 0) for network in networks)
        torch.testing.assert_close(found.map, wanted.map, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.single, wanted.single, rtol=1e-9, atol=1e-12)
        assert found.complete
        assert float(found.single.abs().sum()) > 0.1


class Apart(nn.Module):
    """Paddings that are no convolution's own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.before, self.conv = kind, nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 3)
        self.wide = nn.Conv2d(5, 3, 3)
        with torch.no_grad():
            for conv in (self.conv, self.wide):
                conv.get_parameter("bias")[0] = 9.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        if self.kind == "unbatched":
            x = self.conv(F.pad(x[0], (1, 2, 0, 1))).unsqueeze(0)
        elif self.kind == "samples apart":
            x = torch.stack([self.conv(F.pad(one, (1, 2, 0, 1))) for one in x])
        elif self.kind == "batched in between":
            x = self.conv(F.pad(x.flatten(0, 0)[0], (1, 2, 0, 1))[None])
        elif self.kind == "channels":
            x = self.wide(F.pad(x, (1, 0, 0, 1, 1, 1)))
        else:
            x = self.conv(F.pad(x, (1, 1, 1, 1), mode=self.kind))
        return F.relu6(x).flatten(1).sum(1, keepdim=True)


APART = ["unbatched", "samples apart", "batched in between", "channels", "reflect", "replicate"]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("rule", ["uniform", "proportional"])
@pytest.mark.parametrize("kind", [*APART, "circular"])
def test_paddings_that_stay_apart_lose_no_bias(kind: str, rule: str, *, fast: bool) -> None:
    samples = 1 if kind in {"unbatched", "samples apart", "batched in between"} else 2
    x = torch.randn(samples, 2, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    model = Apart(kind).double().eval()
    with nullcontext() if fast else without_kernels():
        found = bm.BiasBackprop(model, rule).explain(x, 0)
    assert found.complete
    local = bm.local_affine(model, x, 0)
    torch.testing.assert_close(found.map.flatten(1).sum(1), local.bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("way", ["same", "depthwise", "groups in three axes"])
def test_padded_convolutions_under_autocast_lose_no_bias(way: str, *, alone: bool) -> None:
    written = WAYS[way]
    x = torch.randn(2, 2, *written.space, generator=torch.Generator().manual_seed(1))
    network = written.network(alone=alone).float()
    exact = bm.BiasBackprop(network, "uniform").explain(x, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found = bm.BiasBackprop(network, "uniform").explain(x, 0)
        local = bm.local_affine(network, x, 0)
    torch.testing.assert_close(found.map.flatten(1).sum(1), local.bias.float(), rtol=0.02, atol=0.5)
    torch.testing.assert_close(
        found.map.flatten(1).sum(1), exact.map.flatten(1).sum(1), rtol=0.1, atol=1.0
    )


def test_a_hook_on_padded_values_has_its_say() -> None:
    torch.manual_seed(0)
    conv, head = nn.Conv2d(2, 3, 3).double(), nn.Linear(90, 2).double()
    seen: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1))
        padded.register_hook(lambda g: seen.append(g))
        padded.register_hook(lambda g: 2 * g)
        out: Tensor = head(F.relu(conv(padded)).flatten(1))
        return out

    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    found = bm.BiasBackprop(model, "uniform").explain(x, 0)
    assert seen
    with without_kernels():
        wanted = bm.BiasBackprop(model, "uniform").explain(x, 0)
    assert not found.complete
    torch.testing.assert_close(found.residual, wanted.residual)


def test_padded_values_that_the_model_keeps_hold_no_graph() -> None:
    kept: list[Tensor] = []
    conv = nn.Conv2d(2, 3, 3).double()

    def model(x: Tensor) -> Tensor:
        kept.append(F.pad(x.relu(), (1, 1, 1, 1)))
        return F.relu(conv(kept[-1])).flatten(1)

    bm.BiasBackprop(model, "uniform").explain(torch.randn(2, 2, 5, 6, dtype=torch.float64), 0)
    assert kept[0].grad_fn is None
