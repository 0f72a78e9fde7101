"""Pixels of some of a split's images, found by image id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Pictures(Protocol):
    """A split's images, of which a selection can be had as bytes."""

    @property
    def shape(self) -> Sequence[int]:
        """How many images, channels, height and width."""

    def hold(self, ids: Tensor) -> Held:
        """The images with these ids, ``(N,)`` int64, in memory."""


@dataclass(frozen=True, eq=False)
class Held:
    """Images in memory.

    Attributes:
        pixels: ``(K, C, H, W)`` uint8.
        ids: ``(K,)`` int64, ascending: whose the rows are. None: row i is image i.
        lost: ``(L,)`` int64, ids of images that were asked for and could not be read.
    """

    pixels: Tensor
    ids: Tensor | None = None
    lost: Tensor | None = None

    @property
    def shape(self) -> Sequence[int]:
        """How many images are held, channels, height and width."""
        return self.pixels.shape

    def hold(self, ids: Tensor) -> Held:
        """They are held already."""
        return self

    def readable(self, ids: Tensor) -> Tensor:
        """Those of ``ids`` that were not lost, in their order."""
        return ids if self.lost is None else ids[~torch.isin(ids, self.lost)]

    def __getitem__(self, ids: int | Tensor) -> Tensor:
        """Pixels of one image, ``(C, H, W)``, or of several, ``(N, C, H, W)``.

        Raises:
            IndexError: If one of them is not held.
        """
        if self.ids is None:
            return self.pixels[ids]
        wanted = torch.as_tensor(ids, dtype=torch.int64)
        rows = torch.searchsorted(self.ids, wanted).clamp_(max=len(self.ids) - 1)
        missing = wanted[self.ids[rows] != wanted]
        if missing.numel():
            raise IndexError(
                f"Image {int(missing.flatten()[0])} is not among the {len(self.ids)} that are "
                "held in memory; select from the ids of the images, or raise the limit."
            )
        return self.pixels[rows]
