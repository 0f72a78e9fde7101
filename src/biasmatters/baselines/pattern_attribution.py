"""PatternAttribution."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.baselines.pattern_method import PatternMethod


class PatternAttribution(PatternMethod):
    """What the estimated signal adds to the output: ``w a`` in place of the weights w.

    It starts from the explained output's value; ReLUs pass where they are active, and everything
    without weights (pooling, sums, reshapes) goes the gradient's way. A batch-norm of slope s is a
    linear layer of one input with the pattern ``1 / s``, so it passes the signal as it is (nothing
    where s is 0).

    Recalled, not read: that the walk starts from the output's value. The treatment of batch-norm
    is ours.

    Source: Kindermans et al., "Learning how to explain neural networks: PatternNet and
    PatternAttribution", ICLR 2018 (arXiv 1705.05598).

    Args:
        model: A module in evaluation mode.
        patterns: Of an earlier fit to the same model; None to `fit` first.
    """

    def _weight(self, weight: Tensor, pattern: Tensor) -> Tensor:
        return weight * pattern

    def _slope(self, slope: Tensor) -> Tensor:
        return torch.where(slope == 0, 0, torch.ones_like(slope))
