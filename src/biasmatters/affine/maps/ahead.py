"""Zeros among the coefficients of many maps, looked for at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from biasmatters.affine.device import read
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.mixing import Mixing


def with_coefficients(mixings: Iterable[Mixing]) -> list[ConvMap | DenseMap]:
    """The maps among some that hold a kernel or a matrix."""
    return [made for made in mixings if isinstance(made, (ConvMap, DenseMap))]


def look_for_holes(maps: Sequence[ConvMap | DenseMap]) -> None:
    """Tell maps that have no zero so, by one look at all of them; others look themselves."""
    full = read([made.weight.all() for made in maps])
    for made, whole in zip(maps, full, strict=True):
        if whole:
            made.note_no_holes()
