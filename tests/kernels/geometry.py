"""Where the windows of a picture lie."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Of a picture's height and width, and for each axis how its windows lie."""

    space: Pair
    kernel: Pair
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    stride: Pair = (1, 1)
