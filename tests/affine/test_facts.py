"""What is found out once of a function: a name says it of torch's own only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.facts import Facts, facts_of
from biasmatters.affine.views import write_at_index
from biasmatters.affine.vocabulary import NEW

FLAGS = ("asks", "random", "writes", "in_place", "trains", "moves", "new")
TENSOR: Any = Tensor

CASES: dict[str, tuple[Any, str, set[str]]] = {
    "relu": (F.relu, "relu", {"new"}),
    "torch.relu": (torch.relu, "relu", {"new"}),
    "relu_": (torch.relu_, "relu", {"new", "in_place"}),
    "Tensor.relu_": (Tensor.relu_, "relu", {"new", "in_place"}),
    "add": (torch.add, "add", {"new"}),
    "+": (TENSOR.__add__, "add", {"new"}),
    "+ from the right": (TENSOR.__radd__, "add", {"new"}),
    "+=": (TENSOR.__iadd__, "add", {"new", "in_place"}),
    "aten.add_": (torch.ops.aten.add_.Tensor, "add", {"new", "in_place"}),
    "linear": (F.linear, "linear", {"new"}),
    "batch_norm": (F.batch_norm, "batch_norm", {"trains", "new"}),
    "torch.batch_norm": (torch.batch_norm, "batch_norm", {"trains", "new"}),
    "instance_norm": (F.instance_norm, "instance_norm", {"trains"}),
    "dropout": (F.dropout, "dropout", {"trains"}),
    "bernoulli_": (Tensor.bernoulli_, "bernoulli", {"random", "in_place"}),
    "rand_like": (torch.rand_like, "rand_like", {"random"}),
    "dim": (Tensor.dim, "dim", {"asks"}),
    "numel": (torch.numel, "numel", {"asks"}),
    "shape": (TENSOR.shape.__get__, "get_shape", {"asks"}),
    "requires_grad": (TENSOR.requires_grad.__get__, "get_requires_grad", {"asks"}),
    "data": (TENSOR.data.__get__, "get_data", set()),
    "item": (Tensor.item, "item", set()),
    "data set": (TENSOR.data.__set__, "set_data", {"writes"}),
    "[] =": (TENSOR.__setitem__, "__setitem__", {"writes", "in_place"}),
    "copy_": (Tensor.copy_, "copy", {"writes", "in_place"}),
    "zero_": (Tensor.zero_, "zero", {"writes", "in_place"}),
    "[]": (TENSOR.__getitem__, "getitem", {"moves"}),
    "view": (Tensor.view, "view", {"moves"}),
    "unsqueeze_": (Tensor.unsqueeze_, "unsqueeze", {"moves", "in_place"}),
    "T": (TENSOR.T.__get__, "get_T", {"moves"}),
    "the tape's own": (write_at_index, "write_at_index", {"moves"}),
}


def flags(facts: Facts) -> set[str]:
    return {name for name in FLAGS if getattr(facts, name)}


@pytest.mark.parametrize("name", CASES)
def test_torchs_functions(name: str) -> None:
    function, op, wanted = CASES[name]
    facts = facts_of(function)
    assert (facts.op, flags(facts)) == (op, wanted)
    assert facts_of(function) is facts


@pytest.mark.parametrize(
    ("function", "position"),
    [(F.relu, 1), (F.hardtanh, 3), (F.leaky_relu, 2), (torch.relu, None), (Tensor.dim, None)],
)
def test_the_place_of_an_inplace_flag(function: Callable[..., Any], position: int | None) -> None:
    assert facts_of(function).position == position


def own(name: str) -> Callable[[Tensor], Tensor]:
    """A function of the user's with a name of torch's."""

    def function(x: Tensor) -> Tensor:
        return x

    function.__name__ = function.__qualname__ = name
    return function


@pytest.mark.parametrize(
    "name", [*sorted(NEW), "dim", "size", "get_shape", "get_dtype", "relu_", "add_", "__iadd__",
             "dropout", "view", "__setitem__"]
)  # fmt: skip
def test_a_function_of_ones_own_called_like_torchs(name: str) -> None:
    assert not flags(facts_of(own(name))) & {"asks", "new", "in_place", "trains"}


def test_two_of_one_name_are_told_apart() -> None:
    assert facts_of(own("relu")).op != facts_of(F.relu).op
    assert not facts_of(own("relu")).new
    assert facts_of(F.relu).new


@pytest.mark.parametrize("name", sorted(NEW))
def test_what_is_new_is_known_to_torch(name: str) -> None:
    """A name with a slip of the pen would never be found."""
    function = getattr(F, name, getattr(torch, name, None))
    assert function is not None
    assert facts_of(function).new
