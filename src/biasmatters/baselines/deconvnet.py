"""The deconvolutional network."""

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


class Deconvnet:
    """The gradient, but every ReLU rectifies the signal that comes back, and nothing else.

    What the ReLU did on the way forward has no part in it. Max-pools send the signal where their
    value came from (the paper's switches). ``leaky_relu``, ``prelu`` and ``rrelu``, which the
    paper does not have, rectify the signal like a ReLU; a hard tanh passes the gradient.

    Source: Zeiler, Fergus, ECCV 2014 (arXiv 1311.2901).

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
        return without_total(recording, modified_backward(recording, _rectified))

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        return modified_descent(self._recorded(x, row_sums), _rectified, start, signal, layers)

    def _recorded(self, x: Tensor, target: Target) -> Recording:
        recording = recorded(self.model, x, target)
        require_rectifiers(recording, "The deconvnet")
        return recording


def _rectified(step: Step) -> Pull | None:
    if not rectifies(step.node.call):
        return None
    return lambda tau: (tau.clamp_min(0),)
