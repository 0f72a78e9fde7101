"""What all data sets have in common: options, held-out images, subsets, normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from biasmatters.data.errors import InvalidDataOptionError
from biasmatters.data.images import ImageData, TensorImages
from biasmatters.data.normalization import Normalization, check_name, pixel_statistics
from biasmatters.data.split import holdout, subset

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class RawSplit:
    """Bytes as found: images ``(M, C, H, W)`` uint8, labels ``(M,)``, masks ``(M, H, W)``."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class RawData:
    """What reading a data set gives, before any choice about it.

    Attributes:
        classes: Names of the classes.
        train: Training images; may be empty.
        test: Test images.
        source: Where they came from.
        fingerprint: sha256 over the checksums of the files used.
        validation: The source's own validation images, if it has some.
        statistics: Mean and std of the training images; None to compute them when needed.
        note: What a reader of results must know.
    """

    classes: tuple[str, ...]
    train: RawSplit
    test: RawSplit
    source: str
    fingerprint: str
    validation: RawSplit | None = None
    statistics: Statistics | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageSet(ABC):
    """A data set by its options; nothing is read before ``load``.

    Instances are hashable, so loaded data may be memoised by them.

    Attributes:
        root: The data set's own folder, or a parent of it.
        normalization: ``unit``, ``standard`` or ``symmetric``.
        validation: How many training images are held out, always the same ones.
        train_limit: Train on at most so many images, a fixed subset.
        test_limit: Test on at most so many images, a fixed subset.
        cache: Folder for downloads and decoded images.
    """

    name: ClassVar[str]
    note: ClassVar[str] = ""

    root: str | None = None
    normalization: str = "unit"
    validation: int = 5000
    train_limit: int | None = None
    test_limit: int | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        check_name(self.normalization)
        if self.validation < 0:
            raise InvalidDataOptionError(
                f"validation={self.validation}: give the number of images to hold out, 0 or more."
            )
        for option, limit in (("train_limit", self.train_limit), ("test_limit", self.test_limit)):
            if limit is not None and limit < 1:
                raise InvalidDataOptionError(
                    f"{option}={limit}: give a number of images, 1 or more, or null for all."
                )

    @abstractmethod
    def _read(self) -> RawData:
        """Find, check and decode the files."""

    def load(self) -> ImageData:
        """Find the data, check it and hold it in memory.

        Raises:
            DataNotFoundError: If no source has it.
            ChecksumError: If a file is there but damaged.
        """
        raw = self._read()
        normalization = self._normalization(raw)
        train_ids, held_ids = self._training_ids(raw)
        train = _images(raw.train, normalization)
        held = train if raw.validation is None else _images(raw.validation, normalization)
        return ImageData(
            name=self.name,
            classes=raw.classes,
            channels=raw.test.images.shape[1],
            size=(raw.test.images.shape[2], raw.test.images.shape[3]),
            normalization=normalization,
            train=train.select(train_ids),
            validation=held.select(held_ids),
            test=_images(raw.test, normalization).select(
                subset(len(raw.test.images), self.test_limit)
            ),
            source=raw.source,
            fingerprint=raw.fingerprint,
            note=raw.note,
        )

    def _normalization(self, raw: RawData) -> Normalization:
        if self.normalization != "standard":
            unused = (0.0,) * raw.test.images.shape[1]
            return Normalization.make(self.normalization, unused, unused)
        if raw.statistics is None and len(raw.train.images) == 0:
            raise InvalidDataOptionError(
                f"'{self.name}' from {raw.source} has no training images to take mean and std "
                "from; give mean and std, or choose normalization unit or symmetric."
            )
        mean, std = raw.statistics or pixel_statistics(raw.train.images)
        return Normalization.make("standard", mean, std)

    def _training_ids(self, raw: RawData) -> tuple[Tensor, Tensor]:
        count = len(raw.train.images)
        if raw.validation is not None:
            return subset(count, self.train_limit), torch.arange(len(raw.validation.images))
        return holdout(count, self.validation if count else 0, self.train_limit)


def _images(split: RawSplit, normalization: Normalization) -> TensorImages:
    return TensorImages(split.images, split.labels, normalization, masks=split.masks)
