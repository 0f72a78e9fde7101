"""Which axes an operation mixes: samples that lie along one of them are told apart no more."""

from __future__ import annotations

import re
from functools import lru_cache

import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.ownership import is_torchs
from biasmatters.affine.vocabulary import MOVES

PRODUCTS = {"matmul", "bmm", "mm", "mv", "rmatmul"}
_ALONG = {"softmax", "log_softmax", "softmin", "cumsum"}
_ORDERED = {"topk": 2, "kthvalue": 2, "sort": 1, "median": 1}
_OVER_THE_REST = {"group_norm", "instance_norm"}
_OVER_CHANNELS = {"pixel_shuffle": 3, "pixel_unshuffle": 3, "channel_shuffle": 3,
                  "native_channel_shuffle": 3, "linear": 1}  # fmt: skip
_OVER_SPACE = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool",
               "fractional_max_pool")  # fmt: skip
_OVER_CHANNELS_AND_SPACE = ("conv", "conv_transpose")


def mixed_axes(call: Call) -> set[int]:
    """The axes of the first input along which an operation mixes entries with one another.

    Reductions and operations that move values are followed by what becomes of the axis instead.
    """
    rank, op = call.inputs[0].ndim, call.op
    axes = range(rank)
    if op in _ALONG:
        return {_softmax_axis(call) % rank}
    if op in _ORDERED or op == "msort":
        dim = 0 if op == "msort" else call.arg(_ORDERED[op], "dim", -1)
        return {dim % rank} if isinstance(dim, int) else set(axes)
    if op in ("layer_norm", "rms_norm"):
        return set(axes[rank - len(call.arg(1, "normalized_shape")) :])
    if op == "local_response_norm":
        return {1}
    if op in _OVER_THE_REST:
        return set(axes[1:])
    if op == "unfold" and call.function is F.unfold:
        return set(axes[rank - 3 :])
    if op == "unfold":
        return {call.arg(1, "dimension") % rank}
    if op in ("interpolate", "upsample", "upsample_nearest", "upsample_bilinear"):
        return set(axes[2:])
    if op in ("pad", "constant_pad_nd"):
        return _padded_axes(call)
    return set(axes[rank - _last_axes(call) :])


def meet(call: Call) -> bool:
    """Whether the samples of several inputs meet their own, as broadcasting lays them."""
    if len(call.inputs) == 1 or call.op in PRODUCTS or call.op in MOVES:
        return True
    places = {axis - x.ndim for x, axis in zip(call.inputs, call.axes, strict=True)}
    # How an operation of the user's lays its inputs is not known; the same axis is taken for it.
    return len(places) == 1 or (not is_torchs(call.function) and len(set(call.axes)) == 1)


def product_axis(call: Call) -> int | None:
    """Where the samples lie in a matrix product, None where it adds them up or pairs them."""
    a: Tensor = call.arg(0, "input")
    b: Tensor = call.arg(1, "other", call.kwargs.get("mat2", call.kwargs.get("vec")))
    a, b = (b, a) if call.op == "rmatmul" else (a, b)
    found: set[int] = set()
    for x, axis in zip(call.inputs, call.axes, strict=True):
        if x is a:
            found.add(_row_place(axis - a.ndim, a.ndim == 1, b.ndim == 1))
        if x is b:
            found.add(_column_place(axis - b.ndim, b.ndim == 1, a.ndim == 1))
    place = found.pop() if len(found) == 1 else 0
    return None if place >= 0 else call.output.ndim + place


def _row_place(place: int, vector: bool, other_vector: bool) -> int:
    """The place from the right in the output of what lies at ``place`` of the left factor."""
    if place == -1 or vector:
        return 0
    return place + 1 if other_vector else place


def _column_place(place: int, vector: bool, other_vector: bool) -> int:
    """The same for the right factor, whose last axis but one is summed over."""
    if vector or place == -2:
        return 0
    return place + 1 if other_vector and place < -2 else place


def _softmax_axis(call: Call) -> int:
    dim = call.arg(1, "dim")
    # Without an axis torch takes, with a warning, the first of 0, 1 or 3 axes, else the second.
    return dim if dim is not None else 0 if call.inputs[0].ndim in (0, 1, 3) else 1


def _padded_axes(call: Call) -> set[int]:
    rank, pads = call.inputs[0].ndim, list(call.arg(1, "pad"))
    return {rank - 1 - i // 2 for i, width in enumerate(pads) if width}


def _last_axes(call: Call) -> int:
    """How many of the last axes an operation mixes."""
    rank, op = call.inputs[0].ndim, call.op
    if op in _OVER_CHANNELS:
        return _OVER_CHANNELS[op]
    kind, space = _kind(op)
    if kind in _OVER_CHANNELS_AND_SPACE:
        return min(space + 1, rank)
    return space if kind in _OVER_SPACE else 0


@lru_cache(maxsize=1024)
def _kind(op: str) -> tuple[str, int]:
    """``conv2d`` as ``conv`` and 2; nothing and 0 of a name without a number of axes."""
    named = re.match(r"(.+)(\d)d", op)
    return ("", 0) if named is None else (named[1], int(named[2]))
