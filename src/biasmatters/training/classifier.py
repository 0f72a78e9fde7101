"""The LightningModule that trains a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
Batch = tuple[Tensor, Tensor, Tensor]
WARM_UP = 0.2


class Classifier(pl.LightningModule):
    """Trains a network on cross-entropy.

    Args:
        model: Maps ``(N, C, H, W)`` to logits ``(N, classes)``.
        optimizer: Makes the optimiser from the parameters.
        schedule: ``constant``, or ``one_cycle``: for a fifth of the steps up to the optimiser's
            rate, then down to nothing.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory, schedule: str) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer = optimizer
        self.schedule = schedule

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)``."""
        logits: Tensor = self.model(x)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of a batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy of a batch of held-out images."""
        self._step(batch, "validation")

    def _step(self, batch: Batch, part: str) -> Tensor:
        x, label, _ = batch
        logits = self(x)
        loss = cross_entropy(logits, label)
        accuracy = (logits.detach().argmax(1) == label).float().mean()
        values = {f"{part}_loss": loss.detach(), f"{part}_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=True)
        return loss

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule that is stepped with every batch."""
        optimizer = self.make_optimizer(self.model.parameters())
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        rate = optimizer.param_groups[0]["lr"]
        course = OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=WARM_UP)
        return [optimizer], [{"scheduler": course, "interval": "step"}]
