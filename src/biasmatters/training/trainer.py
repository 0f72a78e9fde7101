"""How a Lightning trainer is set up here: quiet, without its own loggers and checkpoints."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from biasmatters.training.callbacks import PlainProgress

# Lightning's advice about worker processes, short epochs and missing loggers; all are on purpose.
_ADVICE = (
    r".*does not have many workers.*",
    r".*The number of training batches.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*GPU available but not used.*",
    r".*You defined a `validation_step` but have no.*",
    r".*isinstance\(treespec, LeafSpec\).*",
)


def progress(label: str) -> Callback:
    """Lightning's RichProgressBar on a terminal, else plain lines."""
    if sys.stdout.isatty():
        return RichProgressBar(leave=True)
    return PlainProgress(label)


def make_trainer(callbacks: Sequence[Callback], **options: Any) -> pl.Trainer:
    """A trainer with our callbacks and nothing that writes on its own account."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    rich = any(isinstance(callback, RichProgressBar) for callback in callbacks)
    return pl.Trainer(
        callbacks=list(callbacks),
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=rich,
        **options,
    )


@contextmanager
def lightning_run() -> Iterator[None]:
    """Silence advice that is answered here, and let Ctrl-C be Ctrl-C again.

    Lightning turns a KeyboardInterrupt into SystemExit(1), which would look like an error.
    """
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        except SystemExit as stop:
            raise KeyboardInterrupt from stop
