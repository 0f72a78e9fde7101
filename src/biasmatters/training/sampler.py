"""Shuffling that depends on seed and epoch alone, so that a resumed run sees the same batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for every epoch of every training."""
    return (seed * 1_000_003 + epoch * 7_919 + 1) % 2**62


class EpochSampler(Sampler[int]):
    """A permutation keyed by ``(seed, epoch)``.

    Args:
        length: Number of samples.
        seed: Seed of the training.

    Example:
        >>> from biasmatters.training import EpochSampler
        >>> sampler = EpochSampler(4, seed=0)
        >>> list(sampler) == list(sampler)
        True
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        return iter(torch.randperm(self.length, generator=generator).tolist())
