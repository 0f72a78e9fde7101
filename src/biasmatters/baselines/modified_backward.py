"""Back-propagation with other rules at chosen operations.

Guided back-propagation, RectGrad, PatternNet and their kin differ from the gradient in what they do
at some operations, and only there. They are walked here over the engine's recording, so functional,
reused and in-place activations and residual sums are met like any other operation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.modes import without_gradients
from biasmatters.affine.places import arrived, below, output_of, signal_at
from biasmatters.affine.recording import Options, Recording, Step, record
from biasmatters.baselines.errors import MethodError
from biasmatters.types import Attribution, Signal, Target

# Turns the signal at a step's output into the signals at its inputs; None: the gradient's own way.
Pull = Callable[[Tensor], tuple[Tensor, ...]]
Rule = Callable[[Step], Pull | None]


def recorded(model: Callable[..., Any], x: Tensor, target: Target) -> Recording:
    """One forward pass of a model in evaluation mode, operation by operation."""
    return record(model, (x,), target, Options())


def start(recording: Recording) -> Tensor:
    """1 at the explained output and 0 at the others, like the last operation's output."""
    if not recording.steps:
        raise MethodError("The model does nothing with its input; there is no way to go back.")
    output = recording.steps[-1].output
    if recording.target is None:
        return torch.ones_like(output)
    signal = torch.zeros_like(output)
    return signal.scatter_(1, recording.target[:, None], 1)


def modified_backward(
    recording: Recording,
    rule: Rule,
    signal: Tensor | None = None,
) -> Tensor:
    """Walk back from the output to the first input.

    Args:
        recording: What `recorded` returned.
        rule: Chooses the way at each operation.
        signal: Like the last operation's output; None for `start`.

    Returns:
        The signal at the first input, like it.
    """
    leaf = recording.inputs[0]
    found = _walk(recording, rule, start(recording) if signal is None else signal, {id(leaf)})
    return found.get(id(leaf), torch.zeros_like(leaf))


def modified_descent(
    recording: Recording, rule: Rule, begin: str, signal: Signal, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Walk back from any layer.

    Args:
        recording: What `recorded` returned.
        rule: Chooses the way at each operation.
        begin: The start, as in `biasmatters.types.Descends`.
        signal: Likewise.
        layers: Likewise.
    """
    part = below(recording, begin)
    wanted = {name: id(output_of(part, name)) for name in layers}
    value = signal_at(part.steps[-1].output, signal)
    found = _walk(part, rule, value, wanted.values())
    by_name = {name: found[key] for name, key in wanted.items() if key in found}
    return arrived(by_name, begin, layers)


def _walk(
    recording: Recording, rule: Rule, signal: Tensor, wanted: Collection[int]
) -> dict[int, Tensor]:
    """What arrives at wanted tensors, by their id, of a signal at the last operation's output."""
    signals = {id(recording.steps[-1].output): signal}
    found: dict[int, Tensor] = {}
    with without_gradients():
        for step in reversed(recording.steps):
            here = signals.pop(id(step.output), None)
            if here is None:
                continue
            if id(step.output) in wanted:
                found[id(step.output)] = here
            pull = rule(step) or step.node.call.vjp
            for x, part in zip(step.node.call.inputs, pull(here), strict=True):
                old = signals.get(id(x))
                signals[id(x)] = part if old is None else old + part
    return found | signals


def without_total(recording: Recording, found: Tensor) -> Attribution:
    """A map that promises no total.

    Args:
        recording: Where the map comes from.
        found: Like the first input.
    """
    return Attribution.without_total(found.detach(), recording.target)


def require_pictures(recording: Recording, method: str) -> None:
    """Refuse an input that has no rows and columns.

    Raises:
        MethodError: Unless it is ``(N, C, H, W)``.
    """
    shape = tuple(recording.inputs[0].shape)
    if len(shape) != 4:
        raise MethodError(
            f"{method} shows maps over rows and columns; give pictures (N, C, H, W), not {shape}."
        )


def over_channels(saliency: Tensor, x: Tensor) -> Tensor:
    """A saliency ``(N, 1, H, W)`` like x ``(N, C, H, W)``: its C-th part in every channel."""
    return (saliency / x.shape[1]).expand_as(x).contiguous()
