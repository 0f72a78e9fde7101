"""The downward map of bias back-propagation alone, from any layer and with no bias put in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from biasmatters.affine.modes import without_gradients
from biasmatters.affine.places import arrived, output_of, place_of, signal_at
from biasmatters.affine.precision import full_precision
from biasmatters.affine.recording import Recording
from biasmatters.affine.walk import (
    finite_sums,
    folded_scales,
    one_to_one_after,
    users_of,
)
from biasmatters.affine.walked import hand_on
from biasmatters.affine.walker import Fallback, SplitFunction, Walk
from biasmatters.types import Signal


def descent(
    recording: Recording,
    split: SplitFunction,
    start: str,
    signal: Signal,
    layers: Sequence[str],
    *,
    fold: bool = True,
    fallback: Fallback = "uniform",
) -> dict[str, Tensor]:
    """Hand a bias down from a layer's output, ``beta_{l-1}[q] = sum_p alpha_l[p, q] beta_l[p]``.

    The walk never brings bias to a unit that is 0 (for one before its ReLU: 0 after it), so a
    signal at such a unit is left out; what then meets a unit without any contributing input takes
    the fallback, as in the walk.

    Args:
        recording: What `record` returned.
        split: The rule's split.
        start: As in `biasmatters.types.Descends`.
        signal: Likewise.
        layers: Likewise.
        fold: As in `walk`.
        fallback: As in `walk`.
    """
    first = place_of(recording, start)
    with without_gradients(), full_precision(recording.output.device):
        scales = folded_scales(recording.steps) if fold else {}
        state = Walk(split, fallback, recording.samples, recording.output)
        top = recording.steps[first]
        end = [top, *one_to_one_after(top, users_of(recording.steps))][-1].output
        betas = {id(top.output): signal_at(top.output, signal) * (end != 0)}
        wanted = {name: id(output_of(recording, name)) for name in layers}
        found: dict[int, Tensor] = {}
        for i in reversed(range(first + 1)):
            step = recording.steps[i]
            tau = betas.pop(id(step.output), None)
            if tau is None:
                continue
            if id(step.output) in wanted.values():
                found[id(step.output)] = tau
            hand_on(step, tau, state, scales[i]() if i in scales else None, betas)
        found |= betas
        finite_sums(map(torch.atleast_1d, found.values()))
    by_name = {name: found[key] for name, key in wanted.items() if key in found}
    return arrived(by_name, start, layers)
