"""How far the windows of a max pool are from choosing another entry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.ops.conv import spread


def fixed_gap(call: Call, axes: int) -> Tensor:
    """`runner_up_gap` of windows with one size and stride, like the output."""
    return runner_up_gap(_fixed_entries(call, axes), call.output)


def adaptive_gap(call: Call, axes: int) -> Tensor:
    """`runner_up_gap` of windows that share each axis as evenly as whole numbers can."""
    return runner_up_gap(_adaptive_entries(call, axes), call.output)


def runner_up_gap(entries: Iterator[Tensor], output: Tensor) -> Tensor:
    """Half the distance between the two largest different entries of each window.

    Exact ties are left out: in real networks they are several dead units, which stay equal.

    Args:
        entries: One tensor like the output for each place in a window, -inf where a window has
            no such place.
        output: What the pool gave.
    """
    best = torch.full_like(output, -torch.inf).detach()
    second = best
    for entry in entries:
        runner_up = torch.where((entry < best) & (entry > second), entry, second)
        second = torch.where(entry > best, best, runner_up)
        best = torch.maximum(best, entry)
    return (best - second) / 2


def _fixed_entries(call: Call, axes: int) -> Iterator[Tensor]:
    x = call.inputs[0].detach()
    kernel = spread(call.arg(1, "kernel_size"), axes)
    stride = spread(call.arg(2, "stride") or kernel, axes)
    padding = spread(call.arg(3, "padding", 0), axes)
    dilation = spread(call.arg(4, "dilation", 1), axes)
    sizes = call.output.shape[-axes:]
    reach = [(n - 1) * s + (k - 1) * d + 1
             for n, s, k, d in zip(sizes, stride, kernel, dilation, strict=True)]  # fmt: skip
    after = [r - n - p for r, n, p in zip(reach, x.shape[-axes:], padding, strict=True)]
    pads = [n for pair in zip(reversed(padding), reversed(after), strict=True) for n in pair]
    wide = F.pad(x, pads, value=-torch.inf)
    lead = (slice(None),) * (x.ndim - axes)
    for offset in product(*(range(k) for k in kernel)):
        steps = [
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, n, s in zip(offset, dilation, sizes, stride, strict=True)
        ]
        yield wide[(*lead, *steps)]


def _adaptive_entries(call: Call, axes: int) -> Iterator[Tensor]:
    x = call.inputs[0].detach()
    wide = F.pad(x, [0, 1] * axes, value=-torch.inf)
    places = [
        _places(size, out, x.device)
        for size, out in zip(x.shape[-axes:], call.output.shape[-axes:], strict=True)
    ]
    for offset in product(*(range(table.shape[1]) for table in places)):
        entry = wide
        for axis, (table, o) in enumerate(zip(places, offset, strict=True)):
            entry = entry.index_select(axis - axes, table[:, o])
        yield entry


def _places(size: int, out: int, device: torch.device) -> Tensor:
    """``(out, widest window)``: the places of each window, ``size`` where there is none."""
    windows = torch.arange(out, device=device)
    begin = windows * size // out
    end = -(-(windows + 1) * size // out)
    widest = int((end - begin).max())
    places = begin[:, None] + torch.arange(widest, device=device)
    return places.masked_fill(places >= end[:, None], size)
