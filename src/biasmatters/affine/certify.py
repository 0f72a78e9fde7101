"""The certificate: two independent sums compared, and what stands in the way of exactness."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from biasmatters.affine.axis import add_up, row_sums
from biasmatters.affine.modes import without_gradients
from biasmatters.affine.recording import Point, Recording
from biasmatters.types import Certificate, Ledger

RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 1e-1, torch.float16: 2e-2}


def relative(dtype: torch.dtype) -> float:
    """The relative error that round-off explains in a number format."""
    return RELATIVE.get(dtype, 1e-4)


def linear_part(point: Point) -> Tensor:
    """``w . x`` for each sample, ``(N,)``, by the gradient of the recording."""
    pairs = zip(point.weights, point.inputs, strict=True)
    return add_up([row_sums(w * x.detach()) for w, x in pairs])


def tolerance(recording: Recording, bias: Tensor, ledger: Ledger) -> Tensor:
    """What round-off explains: ``eps (1 + |b| + sum |shares|)``.

    eps is 1e-9 in float64, 1e-4 in float32, 2e-2 in float16 and 1e-1 in bfloat16, by the coarsest
    number format that any recorded operation used.
    """
    coarsest = max(map(relative, {bias.dtype, *(s.output.dtype for s in recording.steps)}))
    scale: Tensor = 1 + bias.abs() + ledger.absolute().to(bias.dtype)
    return coarsest * scale


def margin(recording: Recording) -> Tensor:
    """Smallest distance of a pre-activation to a boundary of its linear piece, ``(N,)``.

    While no recorded pre-activation moves by as much, the pieces stay and f is affine. Infinite
    where the network has no boundary, NaN where it has one whose distance is not measured (an
    index found from the input's values). Exact ties in a max window are taken to stay ties.
    """
    smallest = torch.full_like(recording.output, torch.inf)
    if recording.samples == 0:
        return smallest
    for gap, axis in _gaps(recording):
        if gap.numel():
            smallest = torch.minimum(smallest, _rows(gap, axis, recording.samples).to(smallest))
    return smallest


def _gaps(recording: Recording) -> Iterator[tuple[Tensor, int]]:
    for step in recording.steps:
        if step.form.gap is not None:
            gap = step.form.gap()
            like_input = gap.shape == step.node.call.inputs[0].shape
            yield gap, step.node.call.axes[0] if like_input else step.node.axis
    for boundary in recording.boundaries:
        yield boundary.gap(), boundary.axis


def _rows(gap: Tensor, axis: int, samples: int) -> Tensor:
    """The smallest entry of each sample."""
    if gap.ndim <= axis or gap.shape[axis] % samples:
        axis, gap = 0, gap.reshape(samples, -1)
    return gap.movedim(axis, 0).reshape(samples, -1).amin(1)


def first_order_ops(recording: Recording) -> tuple[str, ...]:
    """The operations that are only linearised, and those that cut the dependence."""
    smooth = [f"{s.label} ({s.node.call.op})" for s in recording.steps if not s.form.exact]
    return tuple(dict.fromkeys([*smooth, *recording.frozen]))


def certify(
    recording: Recording,
    ledger: Ledger,
    bias: Tensor,
    *,
    measure_margin: bool = True,
) -> Certificate:
    """Compare the ledger with f - w.x; no bias has taken a fallback yet.

    Args:
        recording: One forward and backward pass.
        ledger: Its bias shares.
        bias: ``(N,)`` f - w.x.
        measure_margin: Whether to look for the nearest boundary, which costs about one forward
            pass; the margin is NaN if not.
    """
    ops = first_order_ops(recording)
    with without_gradients():
        return Certificate(
            verdict="first-order" if ops else "exact",
            first_order_ops=ops,
            residual=(ledger.total().to(bias.dtype) - bias).abs(),
            tolerance=tolerance(recording, bias, ledger),
            margin=margin(recording) if measure_margin else torch.full_like(bias, torch.nan),
            fallback_mass=torch.zeros_like(bias),
            injected_mass=recording.injected_mass(),
        )
