"""What a torch function's name says of it, found out once for each function."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from biasmatters.affine.call import Function
from biasmatters.affine.guard import TRAINING
from biasmatters.affine.ownership import is_torchs
from biasmatters.affine.registry import canonical, inplace_position, is_in_place
from biasmatters.affine.vocabulary import ASKS, MOVES, NEW, RANDOM, WRITES


class Facts(NamedTuple):
    """What a function is, whatever it is called with.

    Attributes:
        op: Its canonical name.
        asks: Whether it only asks for a shape, a type or a place.
        random: Whether it draws random numbers.
        writes: Whether it may be one of those that overwrite all or a part of their first
            argument, which are recorded as writes.
        in_place: Whether it has an underscore or an ``i`` to say that it changes that argument.
        position: Place of an ``inplace`` flag among its parameters, or None.
        trains: Whether it does something else in training.
        moves: Whether it moves values.
        new: Whether its result never is a view.
    """

    op: str
    asks: bool
    random: bool
    writes: bool
    in_place: bool
    position: int | None
    trains: bool
    moves: bool
    new: bool


@lru_cache(maxsize=2048)
def facts_of(function: Function) -> Facts:
    """The facts of a function."""
    op, own = canonical(function), is_torchs(function)
    return Facts(
        op,
        op in ASKS and own,
        op in RANDOM,
        op in WRITES,
        is_in_place(function),
        inplace_position(function),
        op in TRAINING,
        op in MOVES,
        op in NEW and own,
    )
