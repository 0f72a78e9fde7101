"""The data of one run: every set is read once, and only when a stage needs it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from biasmatters.data.images import ImageData, TensorImages
from biasmatters.data.split import subset
from biasmatters.stages.spec import DataSpec
from biasmatters.stages.zoo import preprocessing_of


class Source:
    """A data set under several normalisations.

    Args:
        spec: Which data set.
        first: The normalisation that is loaded to learn the fingerprint.
    """

    def __init__(self, spec: DataSpec, first: str) -> None:
        self.spec = spec
        self._first = first
        self._last: tuple[str, ImageData] | None = None

    def load(self, normalization: str) -> ImageData:
        """The data, kept until another normalisation is asked for."""
        if self._last is None or self._last[0] != normalization:
            self._last = None
            own = {} if self._own is None else {"preprocessing": self._own}
            data = self.spec.source.make(normalization=normalization, **own).load()
            self._last = (normalization, data)
        return self._last[1]

    @cached_property
    def _own(self) -> dict[str, Any] | None:
        """What a pretrained network wants done to its pictures."""
        return preprocessing_of(self.spec.model)

    @cached_property
    def about(self) -> Mapping[str, str]:
        """Name, source, fingerprint and note; reads and checks the files.

        Raises:
            BiasmattersError: The data cannot be had, or is damaged.
        """
        data = self.load(self._first)
        return {
            "name": data.name,
            "source": data.source,
            "fingerprint": data.fingerprint,
            "note": data.note,
        }

    @property
    def fingerprint(self) -> str:
        """sha256 over the checksums of the files used."""
        return self.about["fingerprint"]

    def network_name(self, normalization: str, seed: int) -> str:
        """Data, normalisation, model, seed in one word, for folders."""
        return f"{self.spec.name}-{normalization}-{self.spec.model.name}-s{seed}"

    def settings(self, normalization: str) -> dict[str, Any]:
        """What a stage's key takes from here besides the fingerprint."""
        data = dict(self.spec.source.settings)
        if self._own is not None:
            data["preprocessing"] = self._own
        return {"data": data, "normalization": normalization}


def explained_images(data: ImageData, count: int) -> TensorImages:
    """A fixed subset of the test images, the same for every method and network."""
    return some_of(data.test, count)


def some_of(images: TensorImages, count: int | None) -> TensorImages:
    """A fixed subset of images, all of them for None; a smaller one lies within."""
    return images.select(images.ids[subset(len(images), count)])
