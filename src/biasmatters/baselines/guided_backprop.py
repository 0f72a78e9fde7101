"""Guided back-propagation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.recording import Recording, Step
from biasmatters.baselines.modified_backward import (
    Pull,
    modified_backward,
    modified_descent,
    recorded,
    without_total,
)
from biasmatters.baselines.rectifier import rectifies, require_rectifiers
from biasmatters.types import Attribution, Signal, Target


class GuidedBackprop:
    """The gradient, but at every ReLU only positive signals pass, where the ReLU is active.

    A ReLU is met as a module or a function, in place, reused, as ReLU6 or as a clamp at 0, but not
    as a maximum or a mask. ``leaky_relu``, ``prelu`` and ``rrelu``, which the paper does not have,
    are treated by the same words: the positive part of the signal, times their slope where that is
    positive. A hard tanh is no rectifier and passes the gradient.

    Source: Springenberg, Dosovitskiy, Brox, Riedmiller, 2014 (arXiv 1412.6806).

    Args:
        model: A module in evaluation mode, with at least one ReLU.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``; it promises no total.

        Raises:
            MethodError: For a model without any ReLU.
        """
        recording = self._recorded(x, target)
        return without_total(recording, modified_backward(recording, _guided))

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        return modified_descent(self._recorded(x, row_sums), _guided, start, signal, layers)

    def _recorded(self, x: Tensor, target: Target) -> Recording:
        recording = recorded(self.model, x, target)
        require_rectifiers(recording, "Guided back-propagation")
        return recording


def _guided(step: Step) -> Pull | None:
    call = step.node.call
    if not rectifies(call):
        return None
    return lambda tau: tuple(part.clamp_min(0) for part in call.vjp(tau.clamp_min(0)))
