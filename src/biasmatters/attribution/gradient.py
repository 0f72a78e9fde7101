"""The w part: the gradient, and the gradient times the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.affine.guard import check_inputs, evaluation
from biasmatters.affine.places import pulled_back
from biasmatters.affine.target import explained, pick_output, resolve_target
from biasmatters.types import Attribution, Signal, Target


def input_gradient(
    model: Callable[..., Any], x: Tensor, target: Target
) -> tuple[Tensor, Tensor | None]:
    """Autograd's gradient of the explained output by x, and the class it belongs to."""
    check_inputs((x,))
    with torch.inference_mode(False), torch.enable_grad(), evaluation(model, False):
        leaf = (x.clone() if x.is_inference() else x).detach().requires_grad_()
        output = pick_output(model(leaf.clone()), None)
        if callable(target):
            value, chosen = target(output), None
        else:
            chosen = resolve_target(output, target, x.shape[0])
            value = explained(output, chosen)
        if not value.requires_grad:
            raise InputError("The model's output does not depend on its input; nothing to explain.")
        (grad,) = torch.autograd.grad(value.sum(), leaf)
    return grad, chosen


class Gradient:
    """The gradient w of the explained output.

    Source: Simonyan, Vedaldi, Zisserman, 2013 (arXiv 1312.6034), signed and without reduction.

    Args:
        model: A module in evaluation mode, or any function of a tensor.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self.model = model

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """``w`` like x ``(N, *features)``."""
        grad, chosen = input_gradient(self.model, x, target)
        return Attribution.without_total(grad, chosen)

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it.

        Raises:
            InputError: For a function, which has no layers.
        """
        if not isinstance(self.model, nn.Module):
            raise InputError("A function has no layers to set out from; give a module.")
        check_inputs((x,))
        with torch.inference_mode(False), torch.enable_grad(), evaluation(self.model, False):
            return pulled_back(self.model, x, start, signal, layers)


class InputXGradient:
    """``w * x``, which sums to f(x) - b.

    Source: Shrikumar, Greenside, Shcherbina, Kundaje, 2016 (arXiv 1605.01713).

    Args:
        model: A module in evaluation mode, or any function of a tensor.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self.model = model

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """``w * x`` like x ``(N, *features)``; what it lacks to f(x) is the bias."""
        grad, chosen = input_gradient(self.model, x, target)
        return Attribution.without_total(grad * x, chosen)
