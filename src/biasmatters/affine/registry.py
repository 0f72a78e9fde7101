"""Which handler knows the affine form of which torch function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from biasmatters.affine.call import Call, Function
from biasmatters.affine.form import Form
from biasmatters.affine.ownership import (
    is_torchs,
    overloads,
    plain_name,
    qualified,
    sounds_like_torchs,
)

Handler = Callable[[Call], Form]
Decomposition = Callable[..., Any]

_by_name: dict[str, Handler] = {}
_by_function: dict[Function, Handler] = {}
_decompositions: dict[str, Decomposition] = {}
_rewritten: dict[Function, Decomposition] = {}

_DUNDER = {
    "__add__": "add",
    "__radd__": "add",
    "__sub__": "sub",
    "__rsub__": "rsub",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__truediv__": "div",
    "__rtruediv__": "rdiv",
    "__rdiv__": "rdiv",
    "__div__": "div",
    "__matmul__": "matmul",
    "__rmatmul__": "rmatmul",
    "__pow__": "pow",
    "__rpow__": "rpow",
    "__neg__": "neg",
    "__abs__": "abs",
    "__getitem__": "getitem",
}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the handler of the torch functions with these canonical names."""

    def register(handler: Handler) -> Handler:
        for name in names:
            _by_name[name] = handler
        return handler

    return register


def decomposes(*names: str) -> Callable[[Decomposition], Decomposition]:
    """Register a rewriting of composite functions into recorded ones."""

    def register(function: Decomposition) -> Decomposition:
        for name in names:
            _decompositions[name] = function
        return function

    return register


def rewrites(function: Function) -> Callable[[Decomposition], Decomposition]:
    """Register a rewriting of one function whose arguments stand in another order."""

    def register(decomposition: Decomposition) -> Decomposition:
        _rewritten[function] = decomposition
        return decomposition

    return register


def register_op(function: Function, handler: Handler) -> None:
    """Teach the engine an operation.

    Args:
        function: The function as the model calls it: a torch function, an operator of `torch.ops`
            or of `torch.library.custom_op`, or your own, wrapped with
            `torch.overrides.wrap_torch_function`. The tape does not see calls of an
            `autograd.Function` or a scripted module; wrap these in a function of your own.
        handler: Takes the recorded `Call` and returns its `Form`. In `biasmatters.affine.form`,
            `smooth` makes one for a curved function, which the certificate then names, and
            `elementwise`, `routing` and `mixing` for piecewise linear ones, which it takes for
            exact; a function with bends says by `gap` how far they are.

    Example:
        >>> import torch
        >>> from biasmatters.affine.form import elementwise
        >>> register_op(torch.positive, lambda call: elementwise(call, lambda: torch.ones(())))
    """
    for one in overloads(function):
        _by_function[one] = handler


def find_handler(function: Function, op: str) -> Handler | None:
    """The handler of a function: the user's own first, then by canonical name."""
    return _by_function.get(function) or _by_name.get(op)


def is_taught(function: Function) -> bool:
    """Whether the user registered a handler for a function."""
    return function in _by_function


def find_decomposition(function: Function, op: str) -> Decomposition | None:
    """The rewriting of a composite function, unless the user registered a handler for it."""
    if function in _by_function:
        return None
    return _rewritten.get(function) or _decompositions.get(op)


@lru_cache(maxsize=2048)
def canonical(function: Function) -> str:
    """The name an operation is known by: ``add`` for ``Tensor.__iadd__`` and ``torch.add``.

    A function that is not torch's own keeps its namespace where torch has one of that name.
    """
    name = plain_name(function)
    if not is_torchs(function):
        return qualified(function) if not name or sounds_like_torchs(name.strip("_")) else name
    if name in ("__get__", "__set__"):
        attribute = getattr(getattr(function, "__self__", None), "__name__", "")
        return f"{name.strip('_')}_{attribute}"
    if name in _DUNDER:
        return _DUNDER[name]
    if name.startswith("__i") and name.endswith("__") and f"__{name[3:]}" in _DUNDER:
        return _DUNDER[f"__{name[3:]}"]
    if name.startswith("__"):
        return name
    return name.strip("_") or str(function)


@lru_cache(maxsize=2048)
def is_in_place(function: Function) -> bool:
    """Whether a function changes its first argument by its very name."""
    name = plain_name(function)
    if not is_torchs(function):
        return False
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and f"__{name[3:]}" in _DUNDER)
    return name.endswith("_") and not name.startswith("_")


def takes_inplace(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call asks by its ``inplace`` flag to change its first argument."""
    position = inplace_position(function)
    by_place = position is not None and len(args) > position and args[position]
    return bool(kwargs.get("inplace") or by_place)


@lru_cache(maxsize=512)
def inplace_position(function: Function) -> int | None:
    """Place of an ``inplace`` flag among a function's parameters, or None."""
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None
    return names.index("inplace") if "inplace" in names else None


def out_of_place(function: Function) -> Function | None:
    """The twin of an in-place function that returns a new tensor."""
    name = plain_name(function)
    if name.startswith("__i"):
        return getattr(torch.Tensor, f"__{name[3:]}", None)
    plain = name.rstrip("_")
    for home in (torch.Tensor, torch, torch.nn.functional):
        twin = getattr(home, plain, None)
        if twin is not None:
            return twin  # type: ignore[no-any-return]
    return None
