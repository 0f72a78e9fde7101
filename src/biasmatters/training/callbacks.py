"""Callbacks: seeds per batch, the curve of a training, progress in plain lines."""

from __future__ import annotations

import csv
import io
import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from biasmatters.training.sampler import epoch_seed

log = logging.getLogger(__name__)

CURVES = "curves.csv"
FIELDS = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


class StepSeed(Callback):
    """Seeds PyTorch anew for every batch, so that dropout is the same after a resume.

    Once an epoch would not do: a resumed epoch sets up its loader with other draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Key the global generator by seed, epoch and batch."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch) + batch_idx)


class Curves(Callback):
    """Writes ``curves.csv``, a line an epoch; its lines travel in the checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"lines": self.lines}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.lines = list(state_dict["lines"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add this epoch's figures."""
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k in FIELDS}
        self.lines.append({"epoch": trainer.current_epoch + 1, **found})
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write all lines."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, FIELDS, restval="")
        table.writeheader()
        table.writerows(self.lines)
        (self.folder / CURVES).write_text(text.getvalue(), encoding="utf-8")


class PlainProgress(Callback):
    """One line an epoch, for output that is no terminal."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's figures."""
        figures = " ".join(
            f"{name}={float(trainer.callback_metrics[name]):.4f}"
            for name in FIELDS
            if name in trainer.callback_metrics
        )
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        seconds = time.monotonic() - self.started
        log.info("%s: epoch %s %s (%.0f s)", self.label, epoch, figures, seconds)
