"""Sliding windows gathered and put back, one place of the kernel at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution over an input without padding lie.

    Attributes:
        kernel, stride, dilation: One number for each spatial axis.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Number of windows along each axis, for an input of shape ``(B, C, *space)``."""
        return tuple(
            (n - (k - 1) * d - 1) // s + 1
            for n, k, s, d in zip(shape[2:], self.kernel, self.stride, self.dilation, strict=True)
        )

    def places(self, shape: tuple[int, ...]) -> int:
        """Number of windows."""
        return math.prod(self.sizes(shape))

    def gather(self, x: Tensor) -> Tensor:
        """``(B, C, *space)`` to ``(B, C, places of the kernel, windows)``."""
        sizes = self.sizes(x.shape)
        out = x.new_empty(*x.shape[:2], math.prod(self.kernel), *sizes)
        for i, steps in enumerate(self.steps(sizes)):
            out[:, :, i] = x[steps]
        return out.flatten(3)

    def scatter(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Transpose of `gather`, for an input of a shape."""
        sizes = self.sizes(shape)
        parts = values.reshape(*shape[:2], math.prod(self.kernel), *sizes)
        total = values.new_zeros(shape)
        for i, steps in enumerate(self.steps(sizes)):
            total[steps] += parts[:, :, i]
        return total

    def steps(self, sizes: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """For each place of the kernel, the inputs that it meets."""
        for offset in product(*(range(k) for k in self.kernel)):
            yield (
                slice(None),
                slice(None),
                *(
                    slice(o * d, o * d + (n - 1) * s + 1, s)
                    for o, d, n, s in zip(offset, self.dilation, sizes, self.stride, strict=True)
                ),
            )
