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
from torch import Tensor

from biasmatters.kernels.gpu_sums import hand_out, sum_units

# In powers of two: exponents up to here need no look for the largest.
SAFE = 40.0
# Weights of which no copies are made in the order that each of the sums likes.
LARGE = 1 << 22
# Numbers in a tile of units, or of inputs, by places; the most units or inputs in it.
TILE, ROWS = 2048, 16
# Numbers that one launch may address, and programs along the second and third axis of a grid.
MOST, PROGRAMS = (1 << 31) - 1, (1 << 16) - 1
WARPS = 4
# Whether exponentials are those of the GPU's own instruction.
PTX = torch.version.cuda is not None and not triton.knobs.runtime.interpret


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
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        for first in range(0, len(x), step):
            rows = slice(first, first + step)
            given = x[rows], tau[rows], None if gains is None else gains[rows]
            _launch(kind, rate, how, given, flag, (each[rows], largest[rows], beta[rows]))
    return beta, (largest < torch.inf).to(tau.dtype)


def takes(how: Geometry, x: Tensor, tau: Tensor) -> bool:
    """Whether a convolution is small enough to be addressed, a sample at a time."""
    groups, units, channels = how.weight.shape[:3]
    classes = how.stride[0] * how.stride[1]
    numbers = max(x[:1].numel(), tau[:1].numel(), how.weight.numel())
    tiles = max(_grid(rows, 1, 1, _tile(rows, 1))[1] for rows in (units, channels))
    return numbers <= MOST and groups * classes <= PROGRAMS and tiles <= PROGRAMS


def try_out(device: torch.device) -> None:
    """Run the kernels on a convolution of one number.

    Raises:
        Exception: Whatever keeps Triton from compiling or running them.
    """
    one = torch.ones(1, 1, 1, 1, device=device)
    how = Geometry(one.reshape(1, 1, 1, 1, 1), (1, 1), (0, 0), (1, 1))
    beta, _ = split(Kind.WEAK, 1.0, how, one, one, None)
    if float(beta) != 1:
        raise RuntimeError(f"they gave {float(beta)} for 1")


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
    sum_units[_grid(units, places, groups, tile)](
        x, w, a, tau, flag, each, largest, *sizes, *w.stride(), rate,
        PACKED=packed, **tile, **options,
    )  # fmt: skip
    classes = how.stride[0] * how.stride[1]
    places = samples * -(-sides[0] // how.stride[0]) * -(-sides[1] // how.stride[1])
    tile = _tile(channels, places)
    w, packed = _packed(how.weight, kind, (0, 3, 4, 1, 2), tile["BM"])
    hand_out[_grid(channels, places, groups * classes, tile)](
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
