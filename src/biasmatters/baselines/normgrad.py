"""NormGrad: where a layer's activation and its gradient are both large."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.affine.recording import Recording, Step
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import (
    Pull,
    modified_backward,
    over_channels,
    recorded,
    require_pictures,
    without_total,
)
from biasmatters.types import Attribution, Target

_TINY = 1e-30


class NormGrad:
    """``|activation| |gradient|`` over the channels of each convolution's input, all layers joined.

    At one place this is the norm of what the place adds to the gradient of a 1x1 identity layer
    put before the convolution. The gradient is the one that comes through that convolution. Each
    layer's map is divided by its largest value, upsampled bilinearly to the input, and joined with
    the others. Convolutions whose input has a single place have nothing to say and are left out.

    Recalled, not read: the division by the largest value, and the geometric mean over the layers
    as the paper's product. The saliency ``(N, 1, H, W)`` is shared out evenly over the channels
    of the map, so that the sum over them is the saliency.

    Source: Rebuffi, Fong, Ji, Vedaldi, "There and back again: revisiting backpropagation saliency
    methods", CVPR 2020 (arXiv 2004.02866).

    Args:
        model: A module in evaluation mode, with 2-D convolutions.
        combine: ``product`` for the geometric mean over the layers, ``mean`` for the arithmetic.
    """

    def __init__(self, model: nn.Module, combine: Literal["product", "mean"] = "product") -> None:
        if combine not in ("product", "mean"):
            raise MethodError(f"Give combine='product' or combine='mean', not {combine!r}.")
        self.model = model
        self.combine = combine

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``; it promises no total.

        Raises:
            MethodError: For a model without convolutions, or an input that is no picture.
        """
        recording = recorded(self.model, x, target)
        require_pictures(recording, "NormGrad")
        _require_convolutions(recording)
        leaf = recording.inputs[0].detach()
        joined = torch.zeros_like(leaf[:, :1])
        layers = _layer_maps(recording)
        for layer in layers:
            wide = F.interpolate(layer, leaf.shape[2:], mode="bilinear", align_corners=False)
            joined += (wide.log() if self.combine == "product" else wide).to(leaf) / len(layers)
        saliency = joined.exp() if self.combine == "product" else joined
        return without_total(recording, over_channels(saliency, leaf))


def _layer_maps(recording: Recording) -> list[Tensor]:
    """``(N, 1, h, w)`` for each convolution, at most 1, from the last to the first."""
    maps: list[Tensor] = []

    def rule(step: Step) -> Pull | None:
        return noting(step) if _is_spatial(step) else None

    def noting(step: Step) -> Pull:
        call = step.node.call

        def pull(tau: Tensor) -> tuple[Tensor, ...]:
            pulled = call.vjp(tau)
            x = call.inputs[0].detach()
            size = x.norm(dim=1, keepdim=True) * pulled[0].norm(dim=1, keepdim=True)
            maps.append(size / size.amax((1, 2, 3), keepdim=True).clamp_min(_TINY))
            return pulled

        return pull

    modified_backward(recording, rule)
    return maps


def _is_spatial(step: Step) -> bool:
    x = step.node.call.inputs[0]
    return step.node.call.op == "conv2d" and x.ndim == 4 and x.shape[2:].numel() > 1


def _require_convolutions(recording: Recording) -> None:
    if not any(map(_is_spatial, recording.steps)):
        met = dict.fromkeys(step.node.call.op for step in recording.steps)
        raise MethodError(
            "NormGrad reads the inputs of 2-D convolutions, and this model has none over more "
            f"than one place; it has: {', '.join(met)}."
        )
