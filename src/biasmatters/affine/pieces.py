"""Tensors in pieces that stay in a processor's cache.

A chain of elementwise operations over a large tensor fetches it from memory at every link, and each
intermediate result is fresh memory. Piece by piece only the first and the last link do.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from biasmatters.affine.device import is_apart
from biasmatters.affine.mixing import ranges

# Numbers of one tensor in a piece: half a megabyte of float32.
PIECE = 1 << 17


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same places of all tensors, which together cover them once.

    What is written to a piece is written to its tensor. Tensors that do not lie in memory alike, or
    not on a processor, are handed out whole.

    Args:
        tensors: Of one shape.

    Yields:
        One view of each tensor, flat, or the tensors themselves.
    """
    first = tensors[0]
    if is_apart(first) or first.numel() <= PIECE or not _alike(tensors):
        yield tensors
        return
    flat = [t.as_strided((t.numel(),), (1,)) for t in tensors]
    for some in ranges(first.numel(), PIECE):
        yield tuple(t[some] for t in flat)


def _alike(tensors: tuple[Tensor, ...]) -> bool:
    """Whether all hold their numbers without gaps and in the same order."""
    first = tensors[0]
    order = sorted(range(first.ndim), key=lambda axis: first.stride(axis))
    step = 1
    for axis in order:
        if first.shape[axis] != 1 and first.stride(axis) != step:
            return False
        step *= first.shape[axis]
    return all(t.shape == first.shape and t.stride() == first.stride() for t in tensors)
