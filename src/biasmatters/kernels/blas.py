"""Torch's own product of matrices, for compiled loops to call on what lies in a core's cache.

Libraries of linear algebra go by the same names and arguments everywhere, and torch is linked with
one. Called by a thread of a team (`biasmatters.kernels.team`) it stays on that thread.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from biasmatters.kernels.machine_code import compiled
from biasmatters.kernels.openmp import OPENMP, torch_library

# By which compiled code knows the functions, and the library does.
_NAMES = {types.float32: "biasmatters_sgemm", types.float64: "biasmatters_dgemm"}
_THEIRS = {types.float32: "sgemm_", types.float64: "dgemm_"}
_POINTER, _WORD, _BYTE = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(8)
_KINDS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


def _register() -> bool:
    """Make the functions known to compiled code; whether they were found.

    They read sizes as whole numbers of 32 or of 64 bits, by how they were built. Of one with 64
    bits whose lowest byte comes first, both are the same.
    """
    if sys.byteorder != "little":
        return False
    try:
        library = ctypes.CDLL(torch_library())
        found = {name: getattr(library, _THEIRS[kind]) for kind, name in _NAMES.items()}
    except (OSError, AttributeError):
        return False
    for name, function in found.items():
        binding.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    return True


_FOUND = _register()


def _multiply(_: Any, sizes: Any, places: Any, turned: Any, like: Any) -> Any:
    """``C = B A`` of matrices whose rows lie one behind the other; from compiled code only.

    Args:
        sizes: Columns of C, its rows, and what is added up; then from one row to the next of A, of
            B and of C.
        places: Where A, B and C begin.
        turned: Whether B is given with rows and columns exchanged.
        like: An array of their format.
    """
    kind, name = _KINDS[like.dtype], _NAMES[like.dtype]

    def write(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        def kept(value: Any) -> Any:
            slot = cgutils.alloca_once(builder, value.type)
            builder.store(value, slot)
            return builder.bitcast(slot, _POINTER)

        columns, rows, inner, *steps = map(kept, cgutils.unpack_tuple(builder, values[0]))
        a, b, c = (builder.inttoptr(p, _POINTER) for p in cgutils.unpack_tuple(builder, values[1]))
        as_is = ir.Constant(_BYTE, ord("N"))
        flag = kept(builder.select(values[2], ir.Constant(_BYTE, ord("T")), as_is))
        one, none = (kept(ir.Constant(kind, number)) for number in (1.0, 0.0))
        # The library counts down columns: to it every matrix is turned.
        arguments = [kept(as_is), flag, columns, rows, inner, one, a, steps[0], b, steps[1], none,
                     c, steps[2]]  # fmt: skip
        function = ir.FunctionType(ir.VoidType(), [_POINTER] * len(arguments))
        builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)
        return context.get_dummy_value()

    return types.void(sizes, places, turned, like), write


# What numba makes of it is called with all but the first.
multiply: Any = intrinsic(_multiply)


@compiled
def _product(b: Any, a: Any, c: Any, turned: bool) -> None:
    rows = b.shape[1] if turned else b.shape[0]
    inner = b.shape[0] if turned else b.shape[1]
    sizes = a.shape[1], rows, inner, a.shape[1], b.shape[1], c.shape[1]
    multiply(sizes, (a.ctypes.data, b.ctypes.data, c.ctypes.data), turned, a)


@cache
def _works() -> bool:
    """Whether the library's function is what it is taken for."""
    if not _FOUND:
        return False
    for kind in (np.float32, np.float64):
        a, b = np.arange(6, dtype=kind).reshape(2, 3), np.arange(2, 10, dtype=kind).reshape(4, 2)
        for turned in (False, True):
            c = np.full((4, 3), np.nan, kind)
            _product(np.ascontiguousarray(b.T) if turned else b, a, c, turned)
            if not np.array_equal(c, np.dot(b, a)):
                return False
    return True


def at_hand() -> bool:
    """Whether loops can call it: on torch's threads alone, where it starts none of its own."""
    return OPENMP.at_hand and _works()
