"""Reshapes, copies and concatenations: values move, the bias moves with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.call import Call, tensors_in
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.form import Form, Split, nothing, routing
from biasmatters.affine.masks import any_left, none_left
from biasmatters.affine.registry import decomposes, handles


@handles("flatten", "unflatten", "reshape", "view", "view_as", "reshape_as", "squeeze", "unsqueeze",
         "ravel")  # fmt: skip
def reshaped(call: Call) -> Form:
    """All inputs in their order, in another shape."""
    x, out = call.inputs[0], call.output
    if len(call.inputs) > 1 or x.dtype != out.dtype or x.numel() != out.numel():
        return routing(call)

    def back(values: Tensor) -> tuple[Tensor]:
        return (values.reshape(x.shape),)

    return replace(routing(call), pull=lambda tau, _: back(tau), transpose=back)


@handles(
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "get_T", "get_mT",
    "expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave",
    "flip", "fliplr", "flipud", "roll", "rot90", "split", "chunk", "tensor_split", "unbind",
    "split_with_sizes", "narrow", "select", "getitem", "index_select", "gather", "take_along_dim",
    "diagonal", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "as_strided",
    "native_channel_shuffle", "hsplit", "vsplit", "dsplit", "atleast_1d", "atleast_2d",
    "atleast_3d",
    "take", "masked_select", "broadcast_tensors", "meshgrid",
)  # fmt: skip
def moved(call: Call) -> Form:
    """Each output is one input."""
    return routing(call)


ALWAYS_CONSTANT = {"index_fill", "scatter", "write_at_index", "write_into_view"}


@handles("cat", "concat", "concatenate", "stack", "write_into_view", "write_at_index",
         "index_put", "index_fill", "index_copy", "slice_scatter", "select_scatter", "scatter",
         "fill_diagonal")  # fmt: skip
def joined(call: Call) -> Form:
    """Each output is one input or a constant, such as a learned token."""
    if call.kwargs.get("accumulate") or call.kwargs.get("reduce"):
        raise UnsupportedOperationError(call.name, call.op, "it adds up several values in one")
    constants = [t for t in tensors_in((call.args, call.kwargs)) if not call.tracked(t)]
    floats = any(t.is_floating_point() for t in constants)
    return routing(call, constant=floats or call.op in ALWAYS_CONSTANT)


@decomposes("vstack", "row_stack")
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.cat` along the first of at least two axes."""
    return torch.cat([t if t.ndim > 1 else t.reshape(1, -1) for t in tensors], 0)


@decomposes("hstack")
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.cat` along the second axis, or the only one."""
    return torch.cat(list(tensors), min(tensors[0].ndim - 1, 1))


@decomposes("dstack")
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.cat` along the third of at least three axes."""
    return torch.cat(
        [
            t if t.ndim > 2 else t.reshape(1, -1, 1) if t.ndim < 2 else t.unsqueeze(-1)
            for t in tensors
        ],
        2,
    )


@decomposes("column_stack")
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.cat` along the second axis; vectors are columns."""
    return torch.cat([t if t.ndim > 1 else t.reshape(-1, 1) for t in tensors], 1)


@handles("unfold")
def unfold(call: Call) -> Form:
    """Sliding windows: ``Tensor.unfold``, or ``F.unfold`` whose padding is constant."""
    return routing(call, constant=call.function is torch.nn.functional.unfold)


@handles("pad", "constant_pad_nd")
def pad(call: Call) -> Form:
    """Padding by a constant, or by copies of the border."""
    pads = zeros_around(call)
    if pads is None:
        return routing(call, constant=_mode(call) == "constant")
    return _pad_by_zeros(call, pads)


def zeros_around(call: Call) -> Sequence[int] | None:
    """How many zeros a padding sets, from the last axis on as torch says it.

    Returns:
        Before and after, for each axis; None if it sets something else, or takes something away.
    """
    value = call.arg(3 if call.op == "pad" else 2, "value") or 0
    pads: Sequence[int] = call.arg(1, "pad")
    return None if _mode(call) != "constant" or value != 0 or min(pads, default=0) < 0 else pads


def _mode(call: Call) -> str:
    return str(call.arg(2, "mode", "constant")) if call.op == "pad" else "constant"


def _pad_by_zeros(call: Call, pads: Sequence[int]) -> Form:
    """The values inside; bias that lands on the zeros has no input to go to."""
    ends = call.output.shape[::-1]
    sides = zip(pads[::2], pads[1::2], ends, strict=False)
    window = (..., *reversed([slice(low, size - high) for low, high, size in sides]))

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        if call.axes[0] == 0 and len(tau) == call.samples and _is_flat(tau, pads):
            return (_inside(call, tau, pads, split),)
        orphans = [strip for strip in _border(tau, pads) if not none_left(strip)]
        if not orphans:
            return (tau[window],)
        (spread,) = split.spread(call, *orphans)
        return (tau[window] + spread,)

    def transpose(grad: Tensor) -> tuple[Tensor]:
        return (grad[window],)

    return Form("routing", pull, nothing, transpose=transpose)


def _is_flat(tau: Tensor, pads: Sequence[int]) -> bool:
    """Whether only the last two axes are padded, of a tensor that kernels take."""
    return tau.ndim > 2 and not any(pads[4:]) and kernels.fit(tau)


def _inside(call: Call, tau: Tensor, pads: Sequence[int], split: Split) -> Tensor:
    """What lies inside, with what lies around it spread evenly."""
    left, right, top, bottom = (*pads, 0, 0)[:4]
    height, width = tau.shape[-2:]
    sums = kernels.borders.border_sums(tau, (top, height - bottom, left, width - right))
    inside = tau[..., top : height - bottom, left : width - right]
    if not any_left(sums):
        return inside
    return inside + split.spread_sums(call, *sums.unbind(1))[0]


def _border(tau: Tensor, pads: Sequence[int]) -> Iterator[Tensor]:
    """What lies on the padding, strip by strip."""
    for axis, (low, high) in enumerate(zip(pads[::2], pads[1::2], strict=True), 1):
        size = tau.shape[-axis] - low - high
        yield tau.narrow(-axis, 0, low)
        yield tau.narrow(-axis, low + size, high)
        tau = tau.narrow(-axis, low, size)
