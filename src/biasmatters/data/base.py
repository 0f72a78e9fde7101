"""What all data sets have in common: options, held-out images, subsets, normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from biasmatters.data.errors import InvalidDataOptionError
from biasmatters.data.held import Held, Pictures
from biasmatters.data.images import ImageData, TensorImages
from biasmatters.data.normalization import Normalization, check_name, pixel_statistics
from biasmatters.data.split import holdout, subset

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class Chosen(NamedTuple):
    """Ids of the images that are used, ``(N,)`` int64 each and ascending.

    Those for validation are training images held out, unless the source has its own.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True)
class RawSplit:
    """As found: images ``(M, C, H, W)`` uint8 or files, labels ``(M,)``, masks ``(M, H, W)``."""

    images: Tensor | Pictures
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
        fingerprint: sha256 over the checksums of the files used, or what makes it for the images
            chosen.
        validation: The source's own validation images, if it has some.
        statistics: Mean and std of the training images; None to compute them when needed.
        note: What a reader of results must know.
        deferred: Whether pictures for training and validation are read at their first use only.
    """

    classes: tuple[str, ...]
    train: RawSplit
    test: RawSplit
    source: str
    fingerprint: str | Callable[[Chosen], str]
    validation: RawSplit | None = None
    statistics: Statistics | None = None
    note: str = ""
    deferred: bool = False


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
        raw = self._with_statistics(self._read())
        chosen = self._choose(raw)
        normalization = self._normalization(raw)
        train = _images(raw.train, normalization, chosen.train)
        validation = _images(raw.validation or raw.train, normalization, chosen.validation)
        test = _images(raw.test, normalization, chosen.test)
        read = (test,) if raw.deferred else (train, validation, test)
        channels, height, width = test.shape
        return ImageData(
            name=self.name,
            classes=raw.classes,
            channels=channels,
            size=(height, width),
            normalization=normalization,
            train=train,
            validation=validation,
            test=test,
            source=raw.source,
            fingerprint=raw.fingerprint
            if isinstance(raw.fingerprint, str)
            else raw.fingerprint(chosen),
            note=_note(raw.note, sum(images.left_out for images in read)),
        )

    def _with_statistics(self, raw: RawData) -> RawData:
        """Mean and std where they are needed: of all training images, whatever the limit."""
        if self.normalization != "standard" or raw.statistics is not None:
            return raw
        count = len(raw.train.labels)
        if count == 0:
            raise InvalidDataOptionError(
                f"'{self.name}' from {raw.source} has no training images to take mean and std "
                "from; give mean and std, or choose normalization unit or symmetric."
            )
        images = raw.train.images
        held = Held(images) if isinstance(images, Tensor) else images.hold(torch.arange(count))
        train = replace(raw.train, images=held)
        return replace(raw, train=train, statistics=pixel_statistics(held.pixels))

    def _normalization(self, raw: RawData) -> Normalization:
        channels = raw.test.images.shape[1]
        mean, std = raw.statistics or ((0.0,) * channels, (0.0,) * channels)
        return Normalization.make(self.normalization, mean, std)

    def _choose(self, raw: RawData) -> Chosen:
        count = len(raw.train.labels)
        test = subset(len(raw.test.labels), self.test_limit)
        if raw.validation is not None:
            validation = torch.arange(len(raw.validation.labels))
            return Chosen(subset(count, self.train_limit), validation, test)
        return Chosen(*holdout(count, self.validation if count else 0, self.train_limit), test)


def _images(split: RawSplit, normalization: Normalization, ids: Tensor) -> TensorImages:
    return TensorImages(split.images, split.labels, normalization, ids, split.masks)


def _note(found: str, left_out: int) -> str:
    pictures = "picture" if left_out == 1 else "pictures"
    lost = f"{left_out} unreadable {pictures} left out" if left_out else ""
    return "; ".join(part for part in (found, lost) if part)
