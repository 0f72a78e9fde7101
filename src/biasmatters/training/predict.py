"""Run a LightningModule's predict step over a data set, with gradients allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from biasmatters.training.trainer import lightning_run, make_trainer, progress


def predict(
    module: pl.LightningModule,
    data: Dataset[Any],
    *,
    batch_size: int,
    label: str,
    workers: int = 0,
    collate: Callable[[Any], Any] | None = None,
    **options: Any,
) -> list[Any]:
    """What ``module.predict_step`` returns for every batch, in order.

    Args:
        module: Its model is used in eval mode.
        data: Samples.
        batch_size: Samples in a step.
        label: What the progress lines call this.
        workers: Processes that load data.
        collate: Makes a batch of what the data set returns for a list of indices.
        options: Further keywords of Lightning's Trainer.
    """
    trainer = make_trainer([progress(label)], inference_mode=False, **options)
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=batch_size, num_workers=workers, collate_fn=collate
    )
    with lightning_run():
        batches = trainer.predict(module, loader)
    return list(batches or [])
