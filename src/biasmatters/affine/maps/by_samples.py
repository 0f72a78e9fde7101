"""Bands of a map whose input needs no padding: whole samples."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from biasmatters.affine.mixing import Band, Stackable, ranges


class BySamples:
    """For a `Stackable` map that is cut up along the samples only."""

    def padded(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x

    def cropped(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The values themselves."""
        return values

    def bands(self: Stackable, x: Tensor, tau: Tensor, limit: int) -> Iterator[Band]:
        """Samples."""
        for some in ranges(len(x), max(1, limit // max(x[:1].numel(), 1))):
            yield Band(self, (some,), (some,))
