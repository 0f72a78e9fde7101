"""FullGrad: the input-gradient and the bias-gradients of all layers in one map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.affine.modes import without_gradients
from biasmatters.affine.recording import Recording
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import (
    over_channels,
    recorded,
    require_pictures,
    without_total,
)
from biasmatters.baselines.reweighted import CONVOLUTIONS
from biasmatters.types import Attribution, Target


def bias_gradients(recording: Recording) -> dict[str, Tensor]:
    """``df/db * b`` of every recorded operation, like its output, by its label.

    With w.x they add up to f: every operation's local intercept is in, batch-norm's
    ``beta - mean gamma / sqrt(var + eps)`` and the bound of a saturated ReLU6 as much as a layer's
    own bias. They are the terms that BBp hands down.
    """
    terms = ((step.label, step.injected()) for step in recording.steps)
    return {label: term for label, term in terms if term is not None}


class FullGrad:
    """``psi(w x)`` and ``psi(bias-gradient)`` of every 4-D layer, summed over layers and channels.

    psi takes the absolute value, rescales to [0, 1] and upsamples bilinearly. The authors' code
    changed, and both ways are here, by year:

    - 2019: one bias for a convolution and the batch-norm after it, rescaled over the whole batch
      (so a sample's map depends on its batch), ``align_corners=False``;
    - 2023: convolution and batch-norm apart, rescaled for each sample over the layer,
      ``align_corners=True``.

    Their code takes the biases of modules; here every operation counts that puts in a bias, so
    that nothing is missed (raw parameters, saturated ReLU6). The scale's epsilon of 1e-6 is
    recalled. The saliency ``(N, 1, H, W)`` is shared out evenly over the channels of the map, so
    that the sum over them is the saliency.

    Source: Srinivas, Fleuret, NeurIPS 2019 (arXiv 1905.00780).

    Args:
        model: A module in evaluation mode.
        year: 2019 or 2023.
    """

    def __init__(self, model: nn.Module, year: Literal[2019, 2023] = 2023) -> None:
        if year not in (2019, 2023):
            raise MethodError(f"FullGrad is known as of year=2019 or year=2023, not {year}.")
        self.model = model
        self.year = year

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, C, H, W)``; it promises no total.

        Raises:
            MethodError: For an input that is no picture.
        """
        recording = recorded(self.model, x, target)
        require_pictures(recording, "FullGrad")
        leaf = recording.inputs[0].detach()
        with without_gradients():
            saliency = self._psi(recording.weights[0] * leaf, leaf)
            for term in self._terms(recording).values():
                if term.ndim == 4 and len(term) == len(leaf):
                    saliency = saliency + self._psi(term, leaf)
            return without_total(recording, over_channels(saliency, leaf))

    def _terms(self, recording: Recording) -> dict[str, Tensor]:
        terms = bias_gradients(recording)
        if self.year == 2019:
            for conv, norm in _blocks(recording):
                parts = [terms.pop(label) for label in (conv, norm) if label in terms]
                if parts:
                    terms[norm] = torch.stack(parts).sum(0)
        return terms

    def _psi(self, values: Tensor, like: Tensor) -> Tensor:
        """``(N, 1, H, W)`` from ``(N, channels, h, w)``."""
        if not values.numel():
            return like[:, :1]
        over = (0, 1, 2, 3) if self.year == 2019 else (1, 2, 3)
        size = values.abs()
        size = size - size.amin(over, keepdim=True)
        size = size / (size.amax(over, keepdim=True) + 1e-6)
        # Resampling is linear, so the channels can be added up before it.
        wide: Tensor = F.interpolate(
            size.sum(1, keepdim=True),
            like.shape[2:],
            mode="bilinear",
            align_corners=self.year == 2023,
        )
        return wide.to(like)


def _blocks(recording: Recording) -> list[tuple[str, str]]:
    """The labels of each convolution and the batch-norm that takes its output."""
    made = {id(s.output): s for s in recording.steps if s.node.call.op in CONVOLUTIONS}
    norms = [s for s in recording.steps if s.node.call.op == "batch_norm"]
    return [
        (made[id(n.node.call.inputs[0])].label, n.label)
        for n in norms
        if id(n.node.call.inputs[0]) in made
    ]
