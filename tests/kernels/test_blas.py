"""Torch's product of matrices, called from compiled loops."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
import torch

from biasmatters.kernels import blas, machine_code, tiles
from biasmatters.kernels.openmp import OPENMP
from tests.kernels.values import FORMATS, numbers

ours = pytest.mark.skipif(not blas.at_hand(), reason="torch's BLAS cannot be called here")


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    blas._works.cache_clear()
    yield
    blas._works.cache_clear()


def test_it_is_at_hand_where_torch_computes_with_mkl() -> None:
    if torch.backends.mkl.is_available() and OPENMP.at_hand:
        assert blas.at_hand()


@ours
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (4, 1, 2), (7, 3, 1), (33, 65, 129)])
def test_a_product_is_numpys(shape: tuple[int, int, int], dtype: torch.dtype, turned: bool) -> None:
    rows, columns, inner = shape
    b, a = numbers(rows, inner, dtype=dtype, seed=1), numbers(inner, columns, dtype=dtype, seed=2)
    out = torch.full((rows, columns), torch.nan, dtype=dtype)
    given = (b.T if turned else b).contiguous().numpy()
    blas._product(given, a.numpy(), out.numpy(), turned)
    torch.testing.assert_close(out, b @ a)


@ours
def test_it_is_not_called_on_threads_of_our_own() -> None:
    with patch.object(OPENMP, "at_hand", False):
        assert not blas.at_hand()


def test_a_library_without_it_or_with_another_function_of_that_name_is_not_called() -> None:
    with patch.object(blas, "_FOUND", False):
        assert not blas.at_hand()
    blas._works.cache_clear()
    with patch.object(blas, "_product", lambda b, a, c, turned: c.fill(0)):
        assert not blas.at_hand()


@ours
def test_a_library_that_turns_nothing_is_not_called() -> None:
    own = blas._product
    with patch.object(blas, "_product", lambda b, a, c, turned: turned or own(b, a, c, turned)):
        assert not blas.at_hand()


def test_loops_are_made_without_the_text_of_modules_as_well() -> None:
    def lost(_: object) -> str:
        raise OSError("could not get source code")

    with patch.object(machine_code.inspect, "getsource", lost):
        made = machine_code._version(__name__, names=("one",))
        assert made != machine_code._version(__name__, names=("another",))


@pytest.mark.parametrize("name", ["no such file", ""])
def test_where_there_is_no_such_library_nothing_is_registered(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "torch_library", lambda: name)
    monkeypatch.setitem(blas._THEIRS, next(iter(blas._THEIRS)), "no_such_function_")
    assert not blas._register()


def test_a_machine_that_puts_the_highest_byte_first_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blas.sys, "byteorder", "big")
    assert not blas._register()


def test_loops_that_call_other_modules_are_named_by_their_text() -> None:
    name = tiles._pass_back.__name__
    assert name.startswith("_pass_back_")
    # This one calls nothing of other modules but the product.
    assert tiles._split_bent.__name__.startswith("_split_bent_")
    with patch.object(machine_code, "_version", lambda *_, names: f"another_{len(names)}"):
        made = machine_code._with_versions(tiles._pass_back.py_func)
    assert made.__name__ == f"{name}_another_2"
    assert machine_code._with_versions(tiles._give.py_func) is tiles._give.py_func
    assert np.array_equal(made.__code__.co_code, tiles._pass_back.py_func.__code__.co_code)
