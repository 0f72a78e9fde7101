"""Images held in memory as bytes, and what a data set hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from biasmatters.data.held import Held, Pictures
from biasmatters.data.normalization import Normalization

Sample = tuple[Tensor, int, int]


class Batch(NamedTuple):
    """Images ``(N, C, H, W)`` float32 normalised, labels ``(N,)`` and image ids ``(N,)`` int64."""

    images: Tensor
    labels: Tensor
    ids: Tensor


class TensorImages(Dataset[Sample]):
    """Images kept as bytes and normalised when fetched; selections share the bytes.

    An image id is the image's position in its own split's source file or folder, so it names
    the same picture whatever subset is taken. Of pictures in files those selected are decoded
    when they are first looked at, their number included, since unreadable ones are left out.
    """

    def __init__(
        self,
        images: Tensor | Pictures,
        labels: Tensor,
        normalization: Normalization,
        ids: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> None:
        """Hold all images or the selection ``ids`` of them.

        Args:
            images: ``(M, C, H, W)`` uint8, or files of pictures.
            labels: ``(M,)`` int64.
            normalization: Applied to ``images / 255``.
            ids: ``(N,)`` positions to keep; None keeps all.
            masks: ``(M, H, W)`` bool, where the labelled object is.
        """
        self._images = Held(images) if isinstance(images, Tensor) else images
        self._labels = labels
        self._masks = masks
        self._chosen = torch.arange(len(labels)) if ids is None else ids
        self.normalization = normalization

    @cached_property
    def _held(self) -> Held:
        return self._images.hold(self._chosen)

    @cached_property
    def ids(self) -> Tensor:
        """``(N,)`` int64."""
        return self._held.readable(self._chosen)

    @property
    def left_out(self) -> int:
        """How many of those selected could not be read."""
        return len(self._chosen) - len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self._held.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        row = int(self.ids[index])
        return self._prepare(self._held[row]), int(self._labels[row]), row

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch without a loop; the data loader needs ``collate_fn=collate``."""
        return self.batch(torch.as_tensor(indices, dtype=torch.int64))

    def batch(self, indices: Tensor) -> Batch:
        """The samples at these positions of the selection, ``(N,)`` int64."""
        rows = self.ids[indices]
        return Batch(self._prepare(self._held[rows]), self._labels[rows], rows)

    @property
    def labels(self) -> Tensor:
        """``(N,)`` int64."""
        return self._labels[self.ids]

    @property
    def pixels(self) -> Tensor:
        """``(N, C, H, W)`` uint8, as stored."""
        return self._held[self.ids]

    @property
    def masks(self) -> Tensor | None:
        """``(N, H, W)`` bool, where the labelled object is; None if nobody knows."""
        return None if self._masks is None else self._masks[self.ids]

    def select(self, ids: Tensor) -> TensorImages:
        """The images with these ids, ``(N,)``, of those selected here, sharing the bytes."""
        return TensorImages(self._held, self._labels, self.normalization, ids, self._masks)

    def _prepare(self, pixels: Tensor) -> Tensor:
        return self.normalization.apply(pixels.to(torch.float32).div_(255))


def collate(batch: Batch | Sequence[Sample]) -> Batch:
    """Pass a ready batch on, or stack samples; give it to every ``DataLoader``."""
    if isinstance(batch, Batch):
        return batch
    images, labels, ids = zip(*batch, strict=True)
    return Batch(torch.stack(images), torch.tensor(labels), torch.tensor(ids))


@dataclass(frozen=True)
class ImageData:
    """A data set, ready for use.

    Attributes:
        name: Name of the data set.
        classes: Names of the classes; a label is a position in this tuple.
        channels: 1 or 3.
        size: Height and width in pixels.
        normalization: How the inputs were made from pixels.
        train: Training images without the held-out ones.
        validation: Images held out of training (or the folder's own validation images).
        test: Test images.
        source: Where the data came from, for people.
        fingerprint: sha256 over the checksums of the files used.
        note: What a reader of results must know, e.g. ``JPEG copies`` or ``2 unreadable pictures
            left out``; mostly empty.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    normalization: Normalization
    train: TensorImages
    validation: TensorImages
    test: TensorImages
    source: str
    fingerprint: str
    note: str = ""
