"""Relevance handed down through a model by Zennit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.places import pulled_back
from biasmatters.affine.recording import Recording
from biasmatters.affine.target import checked_value, explained
from biasmatters.baselines.canonizing import canonized, put_back, refuse_change
from biasmatters.baselines.coverage import (
    Matters,
    forward,
    matters_to_relevance,
    reach_of,
    refuse,
    through_zero,
    unreached,
)
from biasmatters.baselines.question import Question, asking
from biasmatters.types import Signal

# Makes a composite of the canonized model's recording.
Rules = Callable[[Recording], Any]


@dataclass(frozen=True)
class Relevance:
    """What arrived at the input.

    Attributes:
        map: Like x.
        total: ``(N,)`` the relevance at the output.
        scale: ``(N,)`` its absolute sum.
        recording: Of the model before canonization.
        through_zero: Whether every activation is a slope without a constant.
    """

    map: Tensor
    total: Tensor
    scale: Tensor
    recording: Recording
    through_zero: bool


def propagate(
    question: Question,
    rules: Rules,
    method: str,
    *,
    canonizers: Sequence[Any] | None = None,
    matters: Matters = matters_to_relevance,
    weighted: bool = True,
) -> Relevance:
    """Hand relevance down through a model by Zennit, if it reaches all that matters.

    Args:
        question: What is explained.
        rules: Makes the composite, without canonizers.
        method: Name for errors.
        canonizers: As in `LRP`; an empty sequence for none.
        matters: As in `biasmatters.baselines.coverage.missed`.
        weighted: Whether relevance starts as the explained output, or as 1 there.

    Raises:
        MethodError: Before anything is propagated, naming the operations that are missed.
    """
    with _ruled(question, rules, method, canonizers, matters) as (before, after):
        z = question.x.clone().requires_grad_()
        output = question.model(z)
        start = _start(question, output.detach(), weighted)
        (found,) = torch.autograd.grad(output, z, start)
    return Relevance(
        found.detach(), row_sums(start), row_sums(start.abs()), before, through_zero(after)
    )


def hand_down(
    model: nn.Module,
    x: Tensor,
    rules: Rules,
    method: str,
    start: str,
    signal: Signal,
    layers: Sequence[str],
    *,
    canonizers: Sequence[Any] | None = None,
    matters: Matters = matters_to_relevance,
) -> dict[str, Tensor]:
    """Hand relevance down by Zennit from any layer.

    It sets out at units that their ReLU has switched off, too, where no relevance of the output
    comes; Zennit's rules pass it on. So did the code of Sixt et al., ICML 2020.

    Args:
        model: In evaluation mode.
        x: As in `biasmatters.types.Descends`.
        rules: As in `propagate`, like method, canonizers and matters.
        method: Name for errors.
        start: As in `biasmatters.types.Descends`, like signal and layers.
        signal: Relevance.
        layers: Where it is read off.
        canonizers: As in `LRP`.
        matters: As in `biasmatters.baselines.coverage.missed`.
    """
    with (
        asking(model, x, row_sums) as question,
        _ruled(question, rules, method, canonizers, matters),
    ):
        return pulled_back(model, question.x, start, signal, layers)


@contextmanager
def _ruled(
    question: Question,
    rules: Rules,
    method: str,
    canonizers: Sequence[Any] | None,
    matters: Matters,
) -> Iterator[tuple[Recording, Recording]]:
    """The model under Zennit's rules; yields its recordings before and after canonization."""
    model = question.model
    target = question.choose or question.target
    before = forward(model, question.x, target)
    with put_back(model), canonized(model, before, canonizers) as changed:
        after = forward(model, question.x, target) if changed else before
        refuse_change(before, after)
        composite = rules(after)
        refuse(method, unreached(after, model, reach_of(composite), matters))
        with composite.context(model):
            yield before, after


def _start(question: Question, output: Tensor, weighted: bool) -> Tensor:
    """Relevance at the model's output: the output, or 1, where it is explained."""
    leaf = output.requires_grad_()
    if question.choose is not None:
        value = checked_value(question.choose(leaf), len(leaf))
    else:
        value = explained(leaf, question.target)
    (chosen,) = torch.autograd.grad(value.sum(), leaf)
    return (chosen * leaf if weighted else chosen).detach()
