"""The LightningModule that scores maps: one predict step scores one batch with every curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor, Tensor]


class CurveLike(Protocol):
    """What a curve metric returns."""

    @property
    def fractions(self) -> Tensor:
        """``(points,)`` share of pixels changed."""
        ...

    @property
    def scores(self) -> Tensor:
        """``(N, points)``."""
        ...

    @property
    def auc(self) -> Tensor:
        """``(N,)``."""
        ...


CurveMetric = Callable[[nn.Module, Tensor, Tensor, Tensor], CurveLike]


class Scored(NamedTuple):
    """One curve of one batch, on the CPU: ``fractions (points,)``, ``scores (N, points)``."""

    fractions: Tensor
    scores: Tensor
    auc: Tensor


class Score(pl.LightningModule):
    """Scores maps of a network.

    Args:
        model: The network that was explained.
        curves: Metrics by name, called with ``(model, x, maps, target)``.
    """

    def __init__(self, model: nn.Module, curves: Mapping[str, CurveMetric]) -> None:
        super().__init__()
        self.model = model
        self.curves = dict(curves)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Scored]:
        """Score a batch of ``(x, maps, target)``."""
        x, maps, target = batch
        with torch.no_grad():
            found = {k: curve(self.model, x, maps, target) for k, curve in self.curves.items()}
        return {
            name: Scored(curve.fractions.cpu(), curve.scores.cpu(), curve.auc.cpu())
            for name, curve in found.items()
        }
