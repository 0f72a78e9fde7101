"""Sums over channels, and back, without a mask in between."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from biasmatters.kernels.machine_code import compiled, run, stacks

# Places of a plane that are added up at a time, so that they stay in the first cache.
SPAN = 2048


@compiled
def _count(start: int, stop: int, spans: int, x: Any, out: Any) -> None:
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        total = out[n, first : first + SPAN]
        total[:] = zero
        for c in range(x.shape[1]):
            v = x[n, c, first : first + SPAN]
            for i in range(len(total)):
                total[i] += one if v[i] != zero else zero


@compiled
def _sum(start: int, stop: int, spans: int, x: Any, out: Any) -> None:
    for k in range(start, stop):
        n, first = k // spans, (k % spans) * SPAN
        total = out[n, first : first + SPAN]
        total[:] = x.dtype.type(0)
        for c in range(x.shape[1]):
            v = x[n, c, first : first + SPAN]
            for i in range(len(total)):
                total[i] += v[i]


@compiled
def _give(start: int, stop: int, x: Any, some: Any, out: Any) -> None:
    channels, zero = x.shape[1], x.dtype.type(0)
    for p in range(start, stop):
        n, c = p // channels, p % channels
        v, s, o = x[n, c], some[n], out[n, c]
        for i in range(len(o)):
            o[i] = s[i] if v[i] != zero else zero


def _over_channels(kernel: Any, x: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], 1, *x.shape[2:])
    flat = stacks(out)[:, 0]
    spans = -(-flat.shape[1] // SPAN)
    run(kernel, len(x) * spans, x.numel(), spans, stacks(x), flat)
    return out


def count_present(x: Tensor) -> Tensor:
    """How many channels are not 0, ``(N, 1, *space)`` of ``(N, C, *space)``."""
    return _over_channels(_count, x)


def sum_channels(x: Tensor) -> Tensor:
    """Sum over the channels, ``(N, 1, *space)`` of ``(N, C, *space)``."""
    return _over_channels(_sum, x)


def give(x: Tensor, present: Tensor) -> Tensor:
    """The same for every channel of a place.

    Args:
        x: ``(N, C, *space)``.
        present: ``(N, 1, *space)`` what entries get that are not 0.
    """
    out = x.new_empty(x.shape)
    rows = x.shape[0] * x.shape[1]
    run(_give, rows, x.numel(), stacks(x), stacks(present)[:, 0], stacks(out))
    return out
