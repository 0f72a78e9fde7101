"""Ranges of a kernel's rows, taken in turns by the threads that torch computes with.

The threads of torch's OpenMP are at hand between two of its operations: a kernel that runs on them
neither wakes others nor shares a core with them, whether they spin or sleep meanwhile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from biasmatters.kernels.openmp import OPENMP

# By which compiled code knows OpenMP's function.
_PARALLEL = "biasmatters_parallel"
_WORD, _INT = ir.IntType(64), ir.IntType(32)
_POINTER = ir.IntType(8).as_pointer()
# What is kept beside a kernel's arguments: the next row, how many, rows at a time, what failed.
_HEAD = [_WORD, _WORD, _WORD, _INT]


if OPENMP.address is not None:
    binding.add_symbol(_PARALLEL, OPENMP.address)


class _Turns:
    """The function that each thread runs: it takes the next rows until there are none."""

    def __init__(self, context: Any, module: Any, room: Any, kernel: Any, call: Any) -> None:
        self._context, self._room = context, room
        self._kernel, self._call = kernel, call
        kind = ir.FunctionType(ir.VoidType(), [_POINTER])
        self.function = ir.Function(module, kind, module.get_unique_name("turns"))
        self.function.linkage = "internal"
        self._write(ir.IRBuilder(self.function.append_basic_block("start")))

    def _write(self, builder: Any) -> None:
        room = builder.bitcast(self.function.args[0], self._room.as_pointer())
        place = [cgutils.gep_inbounds(builder, room, 0, i) for i in range(len(self._room.elements))]
        rows, step = builder.load(place[1]), builder.load(place[2])
        arguments = [builder.load(p) for p in place[len(_HEAD) :]]
        turn, work, end = (self.function.append_basic_block(n) for n in ("turn", "work", "end"))
        builder.branch(turn)

        builder.position_at_end(turn)
        first = builder.atomic_rmw("add", place[0], step, "seq_cst")
        builder.cbranch(builder.icmp_signed("<", first, rows), work, end)

        builder.position_at_end(work)
        last = builder.add(first, step)
        last = builder.select(builder.icmp_signed("<", last, rows), last, rows)
        status = self._run(builder, [first, last, *arguments])
        builder.atomic_rmw("or", place[3], builder.zext(status.is_error, _INT), "seq_cst")
        builder.branch(turn)

        builder.position_at_end(end)
        builder.ret_void()

    def _run(self, builder: Any, arguments: list[Any]) -> Any:
        description = self._kernel.fndesc
        function = self._context.declare_function(builder.module, description)
        status, _ = self._context.call_conv.call_function(
            builder, function, self._call.return_type, self._call.args, arguments
        )
        return status


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array that counts no references: the caller's own outlives the call.

    Threads that cut rows out of the same array would wait for each other to count.
    """
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value=value)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    return array._getvalue()  # noqa: SLF001 - numba's way to read it


def _in_turns(typing: Any, kernel: Any, sizes: Any, arguments: Any) -> Any:
    """Call a compiled kernel for ranges that cover all rows once; from compiled code only.

    Args:
        typing: Numba's.
        kernel: Takes the first row, the one after the last, and the arguments.
        sizes: How many rows there are, how many a thread takes at a time, and how many threads.
        arguments: A tuple.

    Returns:
        0, or 1 if the kernel raised an error for some of them.
    """
    call = typing.resolve_function_type(kernel, (types.int64, types.int64, *arguments), {})
    signature = types.int32(kernel, sizes, arguments)

    def write(context: Any, builder: Any, _: Any, values: Any) -> Any:
        compiled = kernel.dispatcher.overloads[call.args]
        context.active_code_library.add_linking_library(compiled.library)
        rows, step, threads = cgutils.unpack_tuple(builder, values[1])
        items = [
            _borrowed(context, builder, kind, item)
            for kind, item in zip(arguments, cgutils.unpack_tuple(builder, values[2]), strict=True)
        ]
        head = [ir.Constant(_WORD, 0), rows, step, ir.Constant(_INT, 0)]
        shape = ir.LiteralStructType([*_HEAD, *(item.type for item in items)])
        room = cgutils.alloca_once(builder, shape)
        for i, value in enumerate([*head, *items]):
            builder.store(value, cgutils.gep_inbounds(builder, room, 0, i))
        turns = _Turns(context, builder.module, shape, compiled, call).function
        kind = ir.FunctionType(ir.VoidType(), [turns.type, _POINTER, _INT, _INT])
        parallel = cgutils.get_or_insert_function(builder.module, kind, _PARALLEL)
        many, flags = builder.trunc(threads, _INT), ir.Constant(_INT, 0)
        memory = builder.bitcast(room, _POINTER)
        several = builder.icmp_signed(">", threads, ir.Constant(_WORD, 1))
        with builder.if_else(several) as (together, alone):
            with together:
                builder.call(parallel, [turns, memory, many, flags])
            with alone:
                builder.call(turns, [memory])
        return builder.load(cgutils.gep_inbounds(builder, room, 0, len(_HEAD) - 1))

    return signature, write


# What numba makes of it is called with all but the first.
in_turns: Any = intrinsic(_in_turns)
