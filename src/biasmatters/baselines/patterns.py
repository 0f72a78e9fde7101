"""Patterns: the direction of the signal at every layer's input, learnt from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from biasmatters.affine.recording import Options, Recording, Step, record
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.pattern_moments import PatternMoments
from biasmatters.baselines.rectifier import is_rectifier
from biasmatters.baselines.reweighted import CONVOLUTIONS

LAYERS = ("linear", *CONVOLUTIONS)


@dataclass(frozen=True)
class Patterns:
    """One pattern for each unit of each layer.

    Attributes:
        patterns: By the label of the recorded operation, like its weight.
        degenerate: By label, how many units have none (never active, or of constant output);
            their patterns are 0.
    """

    patterns: dict[str, Tensor]
    degenerate: dict[str, int]

    def state(self) -> dict[str, Tensor]:
        """Everything as named tensors, for a file."""
        found = {f"{label}.pattern": value for label, value in self.patterns.items()}
        for label, count in self.degenerate.items():
            found[f"{label}.degenerate"] = torch.tensor(count)
        return found

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        """What `state` gave."""
        end = ".pattern"
        labels = [key.removesuffix(end) for key in state if key.endswith(end)]
        return cls(
            {label: state[f"{label}{end}"] for label in labels},
            {label: int(state[f"{label}.degenerate"]) for label in labels},
        )


@torch.inference_mode(mode=False)
def fit_patterns(model: Callable[..., Any], batches: Iterable[Tensor]) -> Patterns:
    """One streaming pass over training inputs.

    A layer whose output goes to ReLUs, at once or after a batch-norm, gets the two-component
    estimator's ``a+``, any other the linear estimator:

        a+ = (E+[x y] - E+[x] E[y]) / (w . E+[x y] - w . E+[x] E[y]),    a = cov[x, y] / var[y]

    E+ is over the places and samples at which the ReLU is active, so batch-norm decides what is
    positive, while y is ``w . x`` itself: the bias cancels, and ``w . a = 1``. Every place of a
    convolution counts, its padding as zeros. Sums are kept in float64; the memory is that of one
    batch and of two float64 copies of the weights. The layers are linear layers and convolutions
    of any groups, stride, padding and dilation.

    Source: Kindermans, Schuett, Alber, Mueller, Erhan, Kim, Daehne, ICLR 2018 (arXiv 1705.05598).

    Args:
        model: A module in evaluation mode.
        batches: Training inputs, each ``(N, *features)``.

    Raises:
        MethodError: For batches that are no tensors, or none at all.
    """
    moments: dict[str, PatternMoments] = {}
    for batch in batches:
        if not isinstance(batch, Tensor):
            raise MethodError(
                f"Patterns are fitted to tensors of inputs, not to a {type(batch).__name__}; give "
                "e.g. (x for x, _ in loader)."
            )
        _add(moments, model, batch.clone() if batch.is_inference() else batch)
    if not moments:
        raise MethodError(
            "There is nothing to fit: give at least one batch of inputs, and a model with linear "
            "layers or convolutions."
        )
    made = {label: moment.pattern() for label, moment in moments.items()}
    return Patterns({k: v[0] for k, v in made.items()}, {k: v[1] for k, v in made.items()})


def _add(moments: dict[str, PatternMoments], model: Callable[..., Any], batch: Tensor) -> None:
    """Count one batch in, layer by layer."""
    recording = record(model, (batch,), _everything, Options())
    users = _users(recording)
    for step in recording.steps:
        if step.node.call.op in LAYERS:
            found = moments.setdefault(step.label, PatternMoments())
            found.add(step.node.call, _active(step, users))


def _everything(output: Tensor) -> Tensor:
    """One number for each sample that all outputs are part of."""
    return output.reshape(len(output), -1).sum(1)


def _users(recording: Recording) -> dict[int, list[Step]]:
    users: dict[int, list[Step]] = {}
    for step in recording.steps:
        for x in step.node.call.inputs:
            users.setdefault(id(x), []).append(step)
    return users


def _active(step: Step, users: dict[int, list[Step]]) -> Tensor | None:
    """Where the ReLU that follows is active, like the layer's output; None without one."""
    z = step.output
    following = users.get(id(z), [])
    if [s.node.call.op for s in following] == ["batch_norm"]:
        z = following[0].output
        following = users.get(id(z), [])
    if following and all(is_rectifier(s.node.call) for s in following):
        return z.detach() > 0
    return None
