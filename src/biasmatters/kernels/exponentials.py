"""The softmax rules of depthwise convolutions in float32, connection by connection, in cache.

Unit p hands out ``2^(e[p, q] - max_q e[p, q])`` of each input q within its window, so that no
exponent leaves the number format. ``e = k[p - q] z[q]`` with ``z = |x|``; where x is 0, or lies in
the padding, z is such that the exponent is nothing beside any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import blank, compiled, run

# An absent input's z; exponents from which on there is none; what is nothing beside the largest.
ABSENT, NONE, NOTHING = np.float32(1e38), np.float32(-1e7), np.float32(-126)
# The largest exponent, and the smallest factor, that the kernel takes.
MOST, LEAST = 1e6, 1e-20
# Exponents that are held at a time.
ROOM = 1 << 15
# 2^f for f in [0, 1], by interpolation at Chebyshev's points, within 1e-8 of itself.
_C0, _C1, _C2 = np.float32(1.0), np.float32(0.693146933), np.float32(0.240230454)
_C3, _C4 = np.float32(0.0554806302), np.float32(0.00968418631)
_C5, _C6 = np.float32(0.00123913318), np.float32(0.00021865785)


@compiled
def _powers(e: Any, largest: Any, bits: Any, scales: Any) -> None:
    """Turn exponents into powers of two, relative to the largest."""
    for i in range(len(e)):
        t = max(e[i] - largest[i], NOTHING)
        whole = np.floor(t)
        f = t - whole
        e[i] = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
        bits[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    for i in range(len(e)):
        e[i] *= scales[i]


@compiled
def _lay_out(x: Any, sign: int, wide: Any, top: int, left: int) -> None:
    absent = ABSENT if sign < 0 else -ABSENT
    wide[:] = absent
    for row in range(x.shape[0]):
        v, o = x[row], wide[row + top, left : left + x.shape[1]]
        for i in range(len(v)):
            o[i] = abs(v[i]) if v[i] != 0 else absent


@compiled
def _look(z: Any, factor: Any, step: int, e: Any, largest: Any) -> None:
    """One tap's exponents, and the largest so far."""
    if step == 1:
        for i in range(len(e)):
            e[i] = factor * z[i]
            largest[i] = max(largest[i], e[i])
    else:
        for i in range(len(e)):
            e[i] = factor * z[i * step]
            largest[i] = max(largest[i], e[i])


@compiled
def _hand(e: Any, share: Any, step: int, back: Any) -> None:
    if step == 1:
        for i in range(len(e)):
            back[i] += e[i] * share[i]
    else:
        for i in range(len(e)):
            back[i * step] += e[i] * share[i]


@compiled
def _share(total: Any, largest: Any, tau: Any) -> int:
    """Write tau over the total; how many units with bias have no input."""
    missed = 0
    zero, one = np.float32(0), np.float32(1)
    for i in range(len(tau)):
        lives = largest[i] > NONE
        missed += 0 if lives or tau[i] == zero else 1
        each = tau[i] / (total[i] if lives else one)
        tau[i] = each if lives else zero
    return missed


@compiled
def _band(
    flat: Any, factors: Any, offsets: Any, first: int, step: int, tau: Any, rooms: Any, bits: Any,
    back: Any
) -> Any:  # fmt: skip
    """Some units whose windows begin one after the other in memory."""
    count = len(tau)
    largest, total, scales = rooms[0, :count], rooms[1, :count], bits.view(np.float32)[:count]
    largest[:] = np.float32(-1e30)
    total[:] = 0
    for k in range(len(factors)):
        _look(flat[first + offsets[k] :], factors[k], step, rooms[2 + k, :count], largest)
    for k in range(len(factors)):
        e = rooms[2 + k, :count]
        _powers(e, largest, bits[:count], scales)
        for i in range(count):
            total[i] += e[i]
    missed = _share(total, largest, tau)
    for k in range(len(factors)):
        _hand(rooms[2 + k, :count], tau, step, back[first + offsets[k] :])
    return missed


@compiled
def _split(
    start: int, stop: int, sign: int, x: Any, factors: Any, tau: Any, geometry: Any, beta: Any,
    missed: Any
) -> None:  # fmt: skip
    top, bottom, left, right, dy, dx, sy, sx = geometry
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    rows, columns, channels = tau.shape[2], tau.shape[3], x.shape[1]
    taps = factors.shape[1] * factors.shape[2]
    # With a stride of 1 rows lie one behind the other, and what wraps around has no bias.
    length = width if sy == 1 and sx == 1 else columns
    together = max(1, min(rows, ROOM // (taps * length))) if length == width else 1
    wide = np.empty((height + 1, width), np.float32)
    flat, back = wide.reshape(-1), np.empty((height + 1) * width, np.float32)
    rooms = np.empty((2 + taps, together * length), np.float32)
    bits, bias = np.empty(together * length, np.int32), np.empty(together * length, np.float32)
    offsets, used = np.empty(taps, np.int64), np.empty(taps, np.float32)
    for p in range(start, stop):
        n, c = p // channels, p % channels
        some = 0
        for ky in range(factors.shape[1]):
            for kx in range(factors.shape[2]):
                if factors[c, ky, kx] != 0:
                    offsets[some] = ky * dy * width + kx * dx
                    used[some] = factors[c, ky, kx]
                    some += 1
        _lay_out(x[n, c], sign, wide, top, left)
        back[:] = 0
        missed[p] = 0
        for row in range(0, rows, together):
            here = min(together, rows - row)
            part = bias[: here * length]
            part[:] = 0
            for r in range(here):
                part[r * length : r * length + columns] = tau[n, c, row + r]
            missed[p] += _band(
                flat, used[:some], offsets[:some], row * sy * width, sx, part, rooms, bits, back
            )
        for row in range(x.shape[2]):
            at = (row + top) * width + left
            o, b, v = beta[n, c, row], back[at : at + x.shape[3]], x[n, c, row]
            for i in range(len(o)):
                o[i] = b[i] if v[i] != 0 else np.float32(0)


def split(
    sign: int,
    x: Tensor,
    factors: Tensor,
    tau: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> tuple[Tensor, bool] | None:
    """Split tau by ``2^(sign k |x|)``.

    Args:
        sign: -1 or +1.
        x: ``(N, C, H, W)``, float32.
        factors: ``(C, kh, kw)`` k, 0 where a connection is absent, else at least ``LEAST``.
        tau: ``(N, C, H', W')``.
        padding: Before and after, for each axis.
        dilation: For each axis.
        stride: Likewise.

    Returns:
        Like x, and whether some units with bias have no inputs. None for exponents so large
        that they have to be seen to otherwise.
    """
    largest = float(x.abs().amax()) * float(factors.amax())
    if not largest <= MOST:
        return None
    beta, missed = blank(x), torch.zeros(x.shape[0] * x.shape[1], dtype=torch.int64)
    geometry = np.array([n for pair in padding for n in pair] + [*dilation, *stride], np.int64)
    run(
        _split,
        len(missed),
        8 * tau.numel() * factors[0].numel(),
        sign,
        x.detach().numpy(),
        (factors * sign).contiguous().numpy(),
        tau.detach().numpy(),
        geometry,
        beta.numpy(),
        missed.numpy(),
    )
    return beta, bool(missed.any())
