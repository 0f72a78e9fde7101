"""The softmax rules of convolutions and dense layers in float32 on a GPU, connection by connection.

    z[p, q] = a[p] w[p, q] x[q],    s[p] = sum_q 1[w x != 0] 2^(r (z[p, q] - m[p]))
    beta[q] = sum_p tau[p] / s[p] 2^(r (z[p, q] - m[p]))

Both sums are found like products of matrices, in tiles that stay in registers, so that a connection
costs two exponentials and no memory. Where an exponent could leave the number format, m is a unit's
largest z, else 0; a flag on the device decides, for which nobody waits. z is found in the same way
in both sums, so that a unit hands out what it has whatever r is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

# In powers of two: exponents up to here need no look for the largest.
SAFE = 40.0
# Weights of which no copies are made in the order that each of the sums likes.
LARGE = 1 << 22
# Numbers in a tile of units, or inputs, and places; the most of the former.
TILE, ROWS = 2048, 16
# Numbers that one launch may address.
MOST = (1 << 31) - 1
WARPS = 4
# Numbers that are added up before they go to the sum of all: it keeps round-off small.
PART = tl.constexpr(32)
# Steps of a sum whose numbers are asked for together.
UNROLL = tl.constexpr(2)
# Whether exponentials are the processor's own.
PTX = torch.version.cuda is not None and not triton.knobs.runtime.interpret
# What the kernels take without being compiled for its value.
NUMBERS = [
    "units", "channels", "kh", "kw", "samples", "oh", "ow", "h", "wd", "sh", "sw", "ph", "pw",
    "dh", "dw", "w_g", "w_p", "w_c", "w_h", "w_w", "rate",
]  # fmt: skip


class Kind(IntEnum):
    """What z is made of: ``-|e|``, ``|e|``, or e times the sign of the bias."""

    WEAK = 0
    STRONG = 1
    SIGNED = 2


@dataclass(frozen=True)
class Geometry:
    """A convolution over two axes of places; a dense layer has a single place.

    Attributes:
        weight: ``(groups, units, channels, height, width)``.
        stride, padding, dilation: Of height and width; the padding is that before.
    """

    weight: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


@triton.jit
def _read(at, inside, KIND: tl.constexpr):  # noqa: N803
    """Inputs, or their sizes where the sign does not count; not a number where one is absent."""
    found = tl.load(at, mask=inside, other=0.0)
    found = found if KIND == 2 else tl.abs(found)
    return tl.where(found == 0, float("nan"), found)


@triton.jit
def _gains(a, at, inside, tau, KIND: tl.constexpr, GAINS: tl.constexpr):  # noqa: N803
    """What z of a unit is multiplied by."""
    found = tl.where(tau < 0, -1.0, 1.0) if KIND == 2 else -1.0 if KIND == 0 else 1.0
    if GAINS:
        slope = tl.load(a + at, mask=inside, other=0.0)
        found = found * (slope if KIND == 2 else tl.abs(slope))
    return found


@triton.jit
def _power(z, rate, PTX: tl.constexpr):  # noqa: N803
    """``2^(r z)``, 0 where z is not a number; nothing is held below the normal numbers."""
    if PTX:
        found = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [z * rate], tl.float32, is_pure=True, pack=1
        )
    else:
        found = tl.exp2(z * rate)
    return tl.maximum(found, 0.0)


@triton.jit
def _coefficients(
    w, rows, mine, stride, KIND: tl.constexpr, PACKED: tl.constexpr, BM: tl.constexpr  # noqa: N803
):  # fmt: skip
    """Those of some units or channels, as `_read` has inputs; packed ones are so in memory."""
    if PACKED:
        return tl.load(w + tl.max_contiguous(tl.multiple_of(rows, BM), BM))
    return _read(w + rows * stride, mine, KIND)


@triton.jit(do_not_specialize=NUMBERS)
def _sum_units(
    x, w, a, tau, flag, each, largest, units, channels, kh, kw, samples, oh, ow, h, wd,
    sh, sw, ph, pw, dh, dw, w_g, w_p, w_c, w_h, w_w, rate,
    KIND: tl.constexpr, GAINS: tl.constexpr, PACKED: tl.constexpr, PTX: tl.constexpr,  # noqa: N803
    BM: tl.constexpr, BN: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The tau / s and m of each unit: 0 and infinity where nothing contributes."""
    place = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    unit = tl.program_id(1) * BM + tl.arange(0, BM)
    group, groups = tl.program_id(2), tl.num_programs(2)
    n = place // (oh * ow)
    row, column = (place // ow % oh).to(tl.int32), (place % ow).to(tl.int32)
    here, mine = n < samples, unit < units
    inside = mine[:, None] & here[None, :]
    at = ((n * groups + group) * units)[None, :] + unit[:, None]
    at = at * (oh * ow) + (row * ow + column)[None, :]
    gain = _gains(a, at, inside, tl.load(tau + at, mask=inside, other=0.0), KIND, GAINS)
    x += (n * groups + group) * channels * h * wd
    w += group * w_g
    top = tl.zeros((BM, BN), tl.float32)
    if tl.load(flag) > 0:
        top += float("-inf")
        for i in range(kh):
            for j in range(kw):
                y, z = row * sh - ph + i * dh, column * sw - pw + j * dw
                seen = here & (y >= 0) & (y < h) & (z >= 0) & (z < wd)
                xs, ws = x + (y * wd + z), w + i * w_h + j * w_w
                for c in tl.range(0, channels, loop_unroll_factor=UNROLL):
                    v = _read(xs + c * (h * wd), seen, KIND)
                    k = _coefficients(ws + c * w_c, unit, mine, w_p, KIND, PACKED, BM)
                    top = tl.maximum(top, k[:, None] * v[None, :] * gain)
        top = tl.where(top == float("-inf"), 0.0, top)
    total = tl.zeros((BM, BN), tl.float32)
    for i in range(kh):
        for j in range(kw):
            y, z = row * sh - ph + i * dh, column * sw - pw + j * dw
            seen = here & (y >= 0) & (y < h) & (z >= 0) & (z < wd)
            xs, ws = x + (y * wd + z), w + i * w_h + j * w_w
            for first in range(0, channels, PART):
                part = tl.zeros((BM, BN), tl.float32)
                for c in tl.range(
                    first, tl.minimum(first + PART, channels), loop_unroll_factor=UNROLL
                ):
                    v = _read(xs + c * (h * wd), seen, KIND)
                    k = _coefficients(ws + c * w_c, unit, mine, w_p, KIND, PACKED, BM)
                    part += _power(k[:, None] * v[None, :] * gain - top, rate, PTX)
                total += part
    live = total > 0
    if GAINS:
        live = live & (gain != 0)
    bias = tl.load(tau + at, mask=inside, other=0.0)
    tl.store(each + at, tl.where(live, bias / total, 0.0), mask=inside)
    tl.store(largest + at, tl.where(live, top, float("inf")), mask=inside)


@triton.jit(do_not_specialize=NUMBERS)
def _hand_out(
    x, w, a, each, largest, beta, units, channels, kh, kw, samples, oh, ow, h, wd,
    sh, sw, ph, pw, dh, dw, w_g, w_p, w_c, w_h, w_w, rate,
    KIND: tl.constexpr, GAINS: tl.constexpr, PACKED: tl.constexpr, PTX: tl.constexpr,  # noqa: N803
    BM: tl.constexpr, BN: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """What each input gets; a program has inputs that lie alike within the strides."""
    group, groups = tl.program_id(2) // (sh * sw), tl.num_programs(2) // (sh * sw)
    above, left = tl.program_id(2) // sw % sh, tl.program_id(2) % sw
    rows = tl.maximum((h - above + sh - 1) // sh, 1)
    columns = tl.maximum((wd - left + sw - 1) // sw, 1)
    place = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    channel = tl.program_id(1) * BM + tl.arange(0, BM)
    n = place // (rows * columns)
    y = (place // columns % rows).to(tl.int32) * sh + above
    z = (place % columns).to(tl.int32) * sw + left
    here, mine = (n < samples) & (y < h) & (z < wd), channel < channels
    inside = mine[:, None] & here[None, :]
    at = ((n * groups + group) * channels)[None, :] + channel[:, None]
    at = at * (h * wd) + (y * wd + z)[None, :]
    v = _read(x + at, inside, KIND)
    base = (n * groups + group) * units * oh * ow
    w += group * w_g
    total = tl.zeros((BM, BN), tl.float32)
    for i in range(kh):
        for j in range(kw):
            if ((above + ph - i * dh) % sh == 0) & ((left + pw - j * dw) % sw == 0):
                row, column = (y + ph - i * dh) // sh, (z + pw - j * dw) // sw
                seen = here & (y + ph >= i * dh) & (row < oh)
                seen = seen & (z + pw >= j * dw) & (column < ow)
                outs, ws = base + (row * ow + column), w + i * w_h + j * w_w
                for first in range(0, units, PART):
                    part = tl.zeros((BM, BN), tl.float32)
                    for p in tl.range(
                        first, tl.minimum(first + PART, units), loop_unroll_factor=UNROLL
                    ):
                        out = outs + p * (oh * ow)
                        share = tl.load(each + out, mask=seen, other=0.0)
                        top = tl.load(largest + out, mask=seen, other=float("inf"))[None, :]
                        gain = _gains(a, out, seen, share, KIND, GAINS)
                        k = _coefficients(ws + p * w_p, channel, mine, w_c, KIND, PACKED, BM)
                        z_there = k[:, None] * v * (gain[None, :] if GAINS or KIND == 2 else gain)
                        part = tl.fma(_power(z_there - top, rate, PTX), share[None, :], part)
                    total += part
    tl.store(beta + at, total, mask=inside)


def split(
    kind: Kind, rate: float, how: Geometry, x: Tensor, tau: Tensor, gains: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Split tau, and say which units have any contribution.

    Args:
        kind: Of z.
        rate: r, ``log2(e) / T``.
        how: The convolution.
        x: ``(N, C, H, W)``, contiguous, like all that follows in float32.
        tau: ``(N, P, H', W')``.
        gains: Like tau, a slope for each unit, or None for 1.

    Returns:
        The bias of the inputs, and a mask like tau: 0 where no connection has a contribution.
    """
    beta, each, largest = torch.empty_like(x), torch.empty_like(tau), torch.empty_like(tau)
    flag = _flag(rate, how.weight, x, gains)
    step = max(1, MOST // max(x[:1].numel(), tau[:1].numel(), 1))
    for first in range(0, len(x), step):
        rows = slice(first, first + step)
        given = x[rows], tau[rows], None if gains is None else gains[rows]
        _launch(kind, rate, how, given, flag, (each[rows], largest[rows], beta[rows]))
    return beta, (largest < torch.inf).to(tau.dtype)


def _flag(rate: float, weight: Tensor, x: Tensor, gains: Tensor | None) -> Tensor:
    """Whether the largest exponent has to be looked for, as a number on the device."""
    reach = _most(x) * _most(weight) * rate
    if gains is not None:
        reach = reach * _most(gains)
    return 1 - (reach <= SAFE).to(x.dtype)


def _most(values: Tensor) -> Tensor:
    low, high = values.aminmax()
    return torch.maximum(-low, high)


def _launch(
    kind: Kind,
    rate: float,
    how: Geometry,
    given: tuple[Tensor, Tensor, Tensor | None],
    flag: Tensor,
    found: tuple[Tensor, Tensor, Tensor],
) -> None:
    x, tau, gains = given
    each, largest, beta = found
    groups, units, channels, *kernel = how.weight.shape
    samples, outputs, sides = len(x), tau.shape[2:], x.shape[2:]
    sizes = units, channels, *kernel, samples, *outputs, *sides
    sizes = *sizes, *how.stride, *how.padding, *how.dilation
    options: dict[str, Any] = {
        "KIND": int(kind), "GAINS": gains is not None, "PTX": PTX, "num_warps": WARPS,
        "enable_fp_fusion": False,
    }  # fmt: skip
    a = x if gains is None else gains
    places = samples * outputs[0] * outputs[1]
    tile = _tile(units, places)
    w, packed = _packed(how.weight, kind, (0, 3, 4, 2, 1), tile["BM"])
    _sum_units[_grid(units, places, groups, tile)](
        x, w, a, tau, flag, each, largest, *sizes, *w.stride(), rate,
        PACKED=packed, **tile, **options,
    )  # fmt: skip
    classes = how.stride[0] * how.stride[1]
    places = samples * -(-sides[0] // how.stride[0]) * -(-sides[1] // how.stride[1])
    tile = _tile(channels, places)
    w, packed = _packed(how.weight, kind, (0, 3, 4, 1, 2), tile["BM"])
    _hand_out[_grid(channels, places, groups * classes, tile)](
        x, w, a, each, largest, beta, *sizes, *w.stride(), rate,
        PACKED=packed, **tile, **options,
    )  # fmt: skip


def _packed(weight: Tensor, kind: Kind, order: tuple[int, ...], rows: int) -> tuple[Tensor, bool]:
    """The coefficients with the last axis of an order side by side, and whether they are.

    Filled up to whole tiles, and not a number where there is no connection, if there is room.
    """
    if weight.numel() > LARGE:
        return weight, False
    sizes = weight if kind == Kind.SIGNED else weight.abs()
    known = sizes.where(weight != 0, torch.nan).permute(order)
    filled = F.pad(known, (0, -known.shape[-1] % rows), value=torch.nan).contiguous()
    return filled.permute([order.index(axis) for axis in range(len(order))]), True


def _tile(rows: int, places: int) -> dict[str, int]:
    """Units or channels, and places, of a program: powers of two."""
    height = min(ROWS, triton.next_power_of_2(rows))
    return {"BM": height, "BN": min(TILE // height, triton.next_power_of_2(places))}


def _grid(rows: int, places: int, groups: int, tile: dict[str, int]) -> tuple[int, int, int]:
    return -(-places // tile["BN"]), -(-rows // tile["BM"]), groups
