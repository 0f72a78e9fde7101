"""Loops in machine code."""

from __future__ import annotations

import hashlib
import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from types import FunctionType
from typing import Any, cast

import numpy as np
import torch
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from torch import Tensor

from biasmatters.kernels.openmp import OPENMP
from biasmatters.kernels.threads import side_by_side

Kernel = Callable[..., Any]
# Sums may be taken in any order; nan and infinity stay what they are. Division by 0 is theirs: to
# look for it and raise an error would end loops early, and such loops go number by number.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}
# Numbers for each of torch's threads below which waking it up takes longer than what it saves.
LEAST = 1 << 17
# Ranges for each thread.
TURNS = 4


def compiled(function: Kernel) -> Kernel:
    """A loop in machine code, kept on disk for the next process if there is a place for it."""
    function = _with_versions(function)
    with suppress(RuntimeError):
        return cast(Kernel, njit(cache=True, **_OPTIONS)(function))
    return cast(Kernel, njit(**_OPTIONS)(function))


def _with_versions(function: Any) -> Any:
    """A loop that calls those of other modules, by a name that changes with their text.

    Numba looks at a loop's own file alone to see whether what it kept is still right.
    """
    called = map(function.__globals__.get, function.__code__.co_names)
    loops: list[Any] = [f for f in called if isinstance(f, (Dispatcher, _Intrinsic))]
    homes = sorted({f.__module__ for f in loops} - {function.__module__})
    if not homes:
        return function
    # Their names say what they call themselves.
    version = _version(*homes, names=tuple([f.__name__ for f in loops]))
    return _renamed(function, f"{function.__name__}_{version}")


def _renamed(function: Any, name: str, **place: Any) -> Any:
    """A function by another name, and at another place in a file if it is given."""
    code = function.__code__.replace(co_name=name, co_qualname=name, **place)
    return FunctionType(code, function.__globals__, name)


# What is run: a kernel, which takes the first row, the one after the last, and the arguments; how
# many rows there are; how many numbers they are made of together; and the arguments.
Task = tuple[Kernel, int, int, tuple[Any, ...]]


@compiled
def _shared_out(threads: Any, size: Any) -> Any:
    """Of a kernel's rows and numbers: rows, how many a thread takes at a time, and threads."""
    rows, numbers = size
    most, least = threads
    several = max(1, min(most, rows, numbers // least))
    # On one thread as well: there, too, arrays need not count references.
    return rows, -(-rows // (TURNS * several)) if several > 1 else rows, several


def _one(threads: Any, sizes: Any, a: Any) -> Any:
    return in_turns(kernel_a, shared_out(threads, sizes[0]), a)  # type: ignore[name-defined]  # noqa: F821


def _two(threads: Any, sizes: Any, a: Any, b: Any) -> Any:
    failed = in_turns(kernel_a, shared_out(threads, sizes[0]), a)  # type: ignore[name-defined]  # noqa: F821
    return failed | in_turns(kernel_b, shared_out(threads, sizes[1]), b)  # type: ignore[name-defined]  # noqa: F821


def _three(threads: Any, sizes: Any, a: Any, b: Any, c: Any) -> Any:
    failed = in_turns(kernel_a, shared_out(threads, sizes[0]), a)  # type: ignore[name-defined]  # noqa: F821
    failed |= in_turns(kernel_b, shared_out(threads, sizes[1]), b)  # type: ignore[name-defined]  # noqa: F821
    return failed | in_turns(kernel_c, shared_out(threads, sizes[2]), c)  # type: ignore[name-defined]  # noqa: F821


_TEMPLATES = (_one, _two, _three)


@cache
def _version(*modules: str, names: tuple[str, ...] = ()) -> str:
    """A short name for the text of some modules, and for names."""
    texts = list(names)
    with suppress(OSError):  # without its text nothing of a module is kept on disk
        texts += [inspect.getsource(sys.modules[name]) for name in modules]
    return hashlib.blake2b("".join(texts).encode(), digest_size=6).hexdigest()


@cache
def _together(*kernels: Any) -> Kernel:
    """Kernels in turns on torch's threads: of threads and numbers, sizes, and arguments each.

    It is made as if it stood in the first kernel's place, so that numba keeps both on disk side by
    side.
    """
    from biasmatters.kernels import team

    template, functions = _TEMPLATES[len(kernels) - 1], [k.py_func for k in kernels]
    origin = functions[0].__code__
    names = {
        "in_turns": team.in_turns,
        "shared_out": _shared_out,
        "__name__": functions[0].__module__,
    }
    names |= {f"kernel_{letter}": kernel for letter, kernel in zip("abc", kernels, strict=False)}
    made = _renamed(
        FunctionType(template.__code__, names),
        "_".join([f.__name__ for f in functions]),
        co_filename=origin.co_filename,
        co_firstlineno=origin.co_firstlineno,
    )
    return compiled(made)


def _in_turns(tasks: Sequence[Task]) -> bool:
    """Run kernels on torch's threads; whether that could be done.

    It is built on parts of numba that may change. Where they do not fit, nothing was run yet.
    """
    most = torch.get_num_threads()
    kernels, rows, numbers, arguments = zip(*tasks, strict=True)
    if not OPENMP.used and most > 1:
        OPENMP.used = any(r > 1 and n >= 2 * LEAST for _, r, n, _ in tasks)
    try:
        sizes = tuple(zip(rows, numbers, strict=True))
        failed = _together(*kernels)((most, LEAST), sizes, *arguments)
    except Exception as error:
        OPENMP.at_hand = False
        warnings.warn(
            f"Kernels cannot run on torch's threads ({type(error).__name__}: {error}), so they "
            "start threads of their own. Another version of numba may help.",
            stacklevel=2,
        )
        return False
    if failed:
        names = " or ".join(kernel.__name__ for kernel in kernels)
        raise MemoryError(f"{names} failed on {max(rows)} rows, most likely for want of memory.")
    return True


def blank(like: Tensor) -> Tensor:
    """Room for as many numbers as another tensor has, in torch's own order."""
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def any_in(values: Any) -> bool:
    """Whether any number of an array is not 0; its own method takes five times as long."""
    return bool(np.count_nonzero(values))


# Numpy makes a view in less time than torch.


def array(tensor: Tensor) -> Any:
    """A tensor as an array, whether it requires grad or not."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def planes(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N C, L)``."""
    values = array(tensor)
    return values.reshape(values.shape[0] * values.shape[1], -1)


def stacks(tensor: Tensor) -> Any:
    """``(N, C, *space)`` as an array ``(N, C, L)``."""
    values = array(tensor)
    return values.reshape(*values.shape[:2], -1)


def summed(values: Any, axis: int) -> Tensor:
    """Sums along an axis of an array, in which too large numbers are infinite as torch's are."""
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.add.reduce(values, axis))


def limits_of(least: tuple[float, float], like: Any) -> Any:
    """What counts as no total, in the format of an array; nobody may write to it."""
    return _limits(least, like.dtype)


@lru_cache(maxsize=64)
def _limits(least: tuple[float, float], form: Any) -> Any:
    return np.array(least, form)


def run(kernel: Kernel, rows: int, numbers: int, *arguments: Any) -> None:
    """Run a kernel on all rows of its arguments, on some threads.

    Args:
        kernel: Takes the first row, the one after the last, and the arguments.
        rows: How many there are.
        numbers: How many numbers they are made of together.
        arguments: Arrays and numbers.

    Raises:
        MemoryError: The kernel found no memory for what it keeps meanwhile.
    """
    run_all((kernel, rows, numbers, arguments))


def run_all(*tasks: Task) -> None:
    """The same for one to three kernels, one behind the other."""
    if not 1 <= len(tasks) <= len(_TEMPLATES):
        raise ValueError(f"Give 1 to {len(_TEMPLATES)} kernels, not {len(tasks)}.")
    if OPENMP.at_hand and _in_turns(tasks):
        return
    for kernel, rows, numbers, arguments in tasks:
        _side_by_side(kernel, rows, numbers, arguments)


def _side_by_side(kernel: Kernel, rows: int, numbers: int, arguments: tuple[Any, ...]) -> None:
    side_by_side(lambda start, stop: kernel(start, stop, *arguments), rows, numbers)
