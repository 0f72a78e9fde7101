"""Along which axis the samples of a batch lie.

Attention layers put the sequence first, window attention merges windows into the batch. The engine
follows one axis for each tensor: entry i of an axis of length ``N m`` belongs to sample ``i // m``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.errors import SampleAxisError
from biasmatters.affine.mixed_axes import PRODUCTS, meet, mixed_axes, product_axis

_REDUCES = {
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "median",
    "var",
    "std",
    "logsumexp",
    "prod",
}
_NORMS = {"norm", "vector_norm", "linalg_vector_norm", "linalg_norm"}
_DROPS = _REDUCES | _NORMS
# Operations that never mix samples along the first axis of so many.
_KEEP = {"conv2d": 4, "batch_norm": 4, "relu": 4, "relu6": 4, "hardtanh": 4}
# Nor those that leave the values in their order, if there are as many along the first axis.
_RESHAPE = {"flatten", "reshape", "view"}
_TOGETHER = {"add", "sub", "mul"}
_JOINS = {"cat", "concat", "concatenate"}


def follow(call: Call, moves: bool) -> int:
    """The sample axis of a call's output.

    Args:
        call: The recorded call, with the axes of its inputs.
        moves: Whether the operation moves values, so that the axis is found by moving labels.

    Raises:
        SampleAxisError: If the samples cannot be followed (never for a batch of one).
    """
    if call.samples <= 1 or _keeps_samples(call):
        return 0
    if call.axes[0] in mixed_axes(call) or not meet(call):
        raise SampleAxisError(
            f"'{call.op}' in '{call.name or 'the model'}' mixes the {call.samples} samples of the "
            f"batch ({', '.join(str(tuple(x.shape)) for x in call.inputs)}, samples along axis "
            f"{', '.join(map(str, call.axes))}), so its output is no function of one sample; "
            "explain one sample at a time with internal_batch_size=1, or check its dim=."
        )
    found = _by_labels(call) if moves else _by_shape(call)
    out = call.output
    if found is None or found >= out.ndim or out.shape[found] % call.samples:
        raise SampleAxisError(
            f"'{call.op}' in '{call.name or 'the model'}' turns {tuple(call.inputs[0].shape)} into "
            f"{tuple(out.shape)}, and the {call.samples} samples cannot be told apart afterwards; "
            "explain one sample at a time with internal_batch_size=1."
        )
    return found


def _keeps_samples(call: Call) -> bool:
    """Whether an operation is one of the most frequent, of samples along the first axis.

    It only takes less time to see that at once.
    """
    x, out = call.inputs[0], call.output
    if call.op in _TOGETHER:
        return not any(call.axes) and x.ndim > 0 and all(y.shape == out.shape for y in call.inputs)
    if call.axes != (0,):
        return False
    if call.op in _RESHAPE:
        return out.ndim > 0 and x.shape[0] == out.shape[0] == call.samples
    return call.op in _KEEP and x.ndim == _KEEP[call.op] == out.ndim


def labels(shape: torch.Size, axis: int, samples: int, like: Tensor) -> Tensor:
    """Each entry's sample number, as a broadcast view in the dtype of ``like``."""
    numbers = torch.arange(samples, dtype=like.dtype, device=like.device)
    numbers = numbers.repeat_interleave(shape[axis] // samples)
    view = [1] * len(shape)
    view[axis] = -1
    return numbers.reshape(view).expand(shape)


def per_sample(values: Tensor, axis: int, samples: int) -> Tensor:
    """Sum over all that belongs to one sample: ``(N,)``."""
    if samples <= 1:
        return values.sum().expand(samples)
    if values.shape[axis] == samples and values.ndim > 1:
        return values.sum([a for a in range(values.ndim) if a != axis % values.ndim])
    return values.movedim(axis, 0).reshape(samples, -1).sum(1)


def row_sums(values: Tensor) -> Tensor:
    """Sum over all axes but the first: ``(N,)``, also for N = 0."""
    return values.reshape(values.shape[0], prod(values.shape[1:])).sum(1)


def add_up(sums: Sequence[Tensor]) -> Tensor:
    """The sum of tensors ``(N,)``, of which there is one for each of the model's inputs."""
    return sums[0] if len(sums) == 1 else torch.stack(tuple(sums)).sum(0)


def _by_labels(call: Call) -> int | None:
    """Move the samples' numbers as the call moves values; constants among them have none."""
    marked = [
        torch.zeros_like(x, dtype=torch.float64).copy_(
            1 + labels(x.shape, axis, call.samples, x.double())
        )
        for x, axis in zip(call.inputs, call.axes, strict=True)
    ]
    with torch.no_grad():
        moved = (call.run(marked) - call.run([torch.zeros_like(m) for m in marked])).nan_to_num()
    for axis, size in enumerate(moved.shape):
        if size and size % call.samples == 0:
            expected = 1 + labels(moved.shape, axis, call.samples, moved)
            if bool(((moved == expected) | (moved == 0)).all()):
                return axis
    return None


def _by_shape(call: Call) -> int | None:
    x, axis, out = call.inputs[0], call.axes[0], call.output
    if call.op in PRODUCTS:
        return product_axis(call)
    if call.op in _JOINS:
        dim = call.arg(1, "dim", 0) % x.ndim
        return None if dim == axis else axis
    if call.op in _DROPS and out.ndim < x.ndim:
        dim = call.arg(2 if call.op in _NORMS else 1, "dim", call.kwargs.get("axis"))
        dims = [dim] if isinstance(dim, int) else list(dim) if dim is not None else range(x.ndim)
        reduced = {d % x.ndim for d in dims}
        return None if axis in reduced else axis - sum(d < axis for d in reduced)
    if call.op == "unfold" or (axis == 0 and out.ndim < x.ndim and out.shape[0] == x.shape[0]):
        return axis
    return axis + out.ndim - x.ndim if out.ndim >= x.ndim else None
