"""Train to the end, going on from the last finished epoch if there is one."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from biasmatters.training.callbacks import Curves, StepSeed
from biasmatters.training.sampler import EpochSampler
from biasmatters.training.trainer import lightning_run, make_trainer, progress

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class FitPlan:
    """How to train.

    Attributes:
        seed: Of shuffling and dropout.
        epochs: Passes over the training set.
        batch_size: Samples in a training step.
        eval_batch_size: Samples in a validation step.
        label: What the progress lines call this training.
        workers: Processes that load data.
        options: Further keywords of Lightning's Trainer.
    """

    seed: int
    epochs: int
    batch_size: int
    eval_batch_size: int
    label: str
    workers: int
    options: dict[str, Any]


def fit(
    module: pl.LightningModule,
    train: Dataset[Any],
    validation: Dataset[Any],
    plan: FitPlan,
    folder: Path,
    collate: Callable[[Any], Any] | None = None,
) -> None:
    """Train ``module`` in place; ``folder`` gets ``curves.csv`` and, while it lasts, checkpoints.

    Args:
        module: What is trained.
        train: Samples to train on.
        validation: Held-out samples; may be empty.
        plan: How to train.
        folder: Where to write; a checkpoint found there is gone on from.
        collate: Makes a batch of what the data set returns for a list of indices.
    """
    curves = Curves(folder)
    callbacks = [StepSeed(plan.seed), curves, progress(plan.label), _checkpoint(folder)]
    trainer = make_trainer(
        callbacks, max_epochs=plan.epochs, num_sanity_val_steps=0, **plan.options
    )
    loaders = _loaders(train, validation, plan, collate)
    with lightning_run():
        trainer.fit(module, *loaders, ckpt_path=_resumable(folder), weights_only=True)
    if trainer.is_global_zero:
        curves.write()
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder / CHECKPOINTS,
        filename="last",
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def _resumable(folder: Path) -> str | None:
    path = folder / CHECKPOINTS / "last.ckpt"
    if not path.exists():
        return None
    try:
        epoch = torch.load(path, map_location="cpu", weights_only=True)["epoch"]
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
        log.warning("the checkpoint %s is damaged: training from the start", path)
        path.unlink()
        return None
    log.info("going on after epoch %d from %s", epoch + 1, path)
    return str(path)


def _loaders(
    train: Dataset[Any],
    validation: Dataset[Any],
    plan: FitPlan,
    collate: Callable[[Any], Any] | None,
) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    shared: dict[str, Any] = {
        "collate_fn": collate,
        "num_workers": plan.workers,
        "persistent_workers": plan.workers > 0,
    }
    sampler = EpochSampler(len(train), plan.seed)  # type: ignore[arg-type]
    first: DataLoader[Any] = DataLoader(
        train, batch_size=plan.batch_size, sampler=sampler, drop_last=False, **shared
    )
    if not len(validation):  # type: ignore[arg-type]
        return first, None
    return first, DataLoader(validation, batch_size=plan.eval_batch_size, **shared)
