"""Sealed classes are data classes that are compared by what they are, not by what they hold."""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass, replace
from functools import cached_property

import pytest
import torch
from torch import Tensor

from biasmatters.affine.bent import Bent
from biasmatters.affine.call import Call
from biasmatters.affine.chain import Chain, Composition, Link
from biasmatters.affine.form import Form
from biasmatters.affine.node import Node
from biasmatters.affine.sealed import sealed
from biasmatters.affine.step import Derived, Held, Step


@sealed
class Pair:
    values: Tensor
    name: str = "pair"
    more: list[int] = field(default_factory=list)

    @cached_property
    def total(self) -> Tensor:
        return self.values.sum()

    @property
    def size(self) -> int:
        return len(self.values)


VALUES = torch.arange(3.0)


def test_fields_and_what_they_are_if_not_given() -> None:
    pair = Pair(VALUES)
    assert [f.name for f in fields(Pair)] == ["values", "name", "more"]
    assert pair.values is VALUES
    assert (pair.name, pair.more, pair.size) == ("pair", [], 3)
    assert Pair(VALUES).more is not pair.more
    assert Pair(VALUES, more=[1], name="other").name == "other"
    with pytest.raises(TypeError, match="values"):
        Pair()  # type: ignore[call-arg]


def test_two_are_equal_only_if_they_are_one() -> None:
    """What they hold is tensors, which say neither yes nor no."""
    pair, twin = Pair(VALUES), Pair(VALUES)
    assert pair == pair
    assert pair != twin
    assert len({pair, twin, pair}) == 2
    assert [twin, pair].index(pair) == 1


def test_another_one_with_something_else() -> None:
    pair = Pair(VALUES, "one")
    assert int(pair.total) == 3
    other = replace(pair, values=VALUES * 2)
    assert (other.name, int(other.total), int(pair.total)) == ("one", 6, 3)
    assert other.more is pair.more


def test_what_is_found_once_is_kept() -> None:
    pair = Pair(VALUES)
    assert pair.total is pair.total


@pytest.mark.parametrize(
    "made", [Bent, Call, Chain, Composition, Derived, Form, Held, Link, Node, Step]
)
def test_the_engines_own(made: type) -> None:
    assert is_dataclass(made)
    assert made.__eq__ is object.__eq__
    assert made.__hash__ is object.__hash__
