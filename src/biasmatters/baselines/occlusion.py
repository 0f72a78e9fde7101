"""Occlusion, by Captum."""

from __future__ import annotations

from torch import Tensor, nn

from biasmatters.affine.guard import check_inputs
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.question import asking
from biasmatters.baselines.settings import finite, whole
from biasmatters.types import Attribution, Target


class Occlusion:
    """How far the output falls when a window is covered, averaged over the windows of a pixel.

    All channels are covered together.

    Source: Zeiler, Fergus, ECCV 2014 (arXiv 1311.2901); implementation: Captum.

    Args:
        model: A module in evaluation mode.
        window: Side of the square window, in pixels.
        stride: Steps between windows, in pixels; at most the window.
        baseline: Value of covered pixels.
        chunk: Windows evaluated at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        window: int = 5,
        stride: int = 2,
        baseline: float = 0.0,
        chunk: int = 16,
    ) -> None:
        self.model = model
        self.window = whole("window", window)
        self.stride = whole("stride", stride)
        self.baseline = finite("baseline", baseline)
        self.chunk = whole("chunk", chunk)
        if stride > window:
            raise MethodError(f"stride={stride} leaves pixels out; give at most window={window}.")

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, *space)``.

        Raises:
            MethodError: For inputs without space, or smaller than the window.
        """
        from captum.attr import Occlusion as Captum

        check_inputs((x,))
        _check(x, self.window)
        space = x.ndim - 2
        with asking(self.model, x, target) as question:
            if not len(x):
                return question.answer(question.x)
            found: Tensor = Captum(question.value).attribute(
                question.x,
                sliding_window_shapes=(x.shape[1], *(self.window,) * space),
                strides=(x.shape[1], *(self.stride,) * space),
                baselines=self.baseline,
                additional_forward_args=(question.target,),
                perturbations_per_eval=self.chunk,
            )
            return question.answer(found / x.shape[1])


def _check(x: Tensor, window: int) -> None:
    if x.ndim < 3:
        raise MethodError(
            f"Occlusion covers windows of pictures (N, C, H, W); this input is {tuple(x.shape)}."
        )
    if min(x.shape[2:]) < window:
        raise MethodError(
            f"window={window} is larger than the input {tuple(x.shape[2:])}; give a smaller one."
        )
