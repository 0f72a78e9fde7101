"""The two sums of `biasmatters.kernels.gpu_exponentials`, in Triton's language.

An argument is a pointer, or a number for which nothing is compiled anew; capitals are constants
that a kernel is compiled with. BM units or inputs and BN places make a tile.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Numbers that are added up before they go to the sum of all: it keeps round-off small.
PART = tl.constexpr(32)
# Steps of a sum whose numbers are asked for together.
UNROLL = tl.constexpr(2)
# What the kernels take without being compiled for its value.
NUMBERS = [
    "units", "channels", "kh", "kw", "samples", "oh", "ow", "h", "wd", "sh", "sw", "ph", "pw",
    "dh", "dw", "w_g", "w_p", "w_c", "w_h", "w_w", "rate",
]  # fmt: skip


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
    """``2^(r z)``: 0 where z is not a number, and below the smallest normal number."""
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
def sum_units(
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
def hand_out(
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
