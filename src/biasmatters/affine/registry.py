"""Which handler knows the affine form of which torch function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from biasmatters.affine.call import Call, Function
from biasmatters.affine.form import Form

Handler = Callable[[Call], Form]
Decomposition = Callable[..., Any]

_by_name: dict[str, Handler] = {}
_by_function: dict[Function, Handler] = {}
_decompositions: dict[str, Decomposition] = {}

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
    "__get__": "get",
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


def register_op(function: Function, handler: Handler) -> None:
    """Teach the engine an operation.

    Args:
        function: The function as the model calls it: a torch function, or your own, wrapped with
            `torch.overrides.wrap_torch_function`.
        handler: Takes the recorded `Call` and returns its `Form`; `elementwise`, `routing`,
            `mixing` and `smooth` in `biasmatters.affine.form` make one.

    Example:
        >>> import torch
        >>> from biasmatters.affine.form import elementwise
        >>> register_op(torch.positive, lambda call: elementwise(call, lambda: torch.ones(())))
    """
    _by_function[function] = handler


def find_handler(function: Function, op: str) -> Handler | None:
    """The handler of a function: the user's own first, then by canonical name."""
    return _by_function.get(function) or _by_name.get(op)


def find_decomposition(function: Function, op: str) -> Decomposition | None:
    """The rewriting of a composite function, unless the user registered a handler for it."""
    return None if function in _by_function else _decompositions.get(op)


def canonical(function: Function) -> str:
    """The name an operation is known by: ``add`` for ``Tensor.__iadd__`` and ``torch.add``."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return f"get_{getattr(getattr(function, '__self__', None), '__name__', '')}"
    if name in _DUNDER:
        return _DUNDER[name]
    if name.startswith("__i") and name.endswith("__") and f"__{name[3:]}" in _DUNDER:
        return _DUNDER[f"__{name[3:]}"]
    if name.startswith("__"):
        return name
    return name.strip("_") or str(function)


def is_in_place(function: Function) -> bool:
    """Whether a function changes its first argument by its very name."""
    name = getattr(function, "__name__", "")
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and f"__{name[3:]}" in _DUNDER)
    return name.endswith("_") and not name.startswith("_")


def out_of_place(function: Function) -> Function | None:
    """The twin of an in-place function that returns a new tensor."""
    name = getattr(function, "__name__", "")
    if name.startswith("__i"):
        return getattr(torch.Tensor, f"__{name[3:]}", None)
    plain = name.rstrip("_")
    for home in (torch.Tensor, torch, torch.nn.functional):
        twin = getattr(home, plain, None)
        if twin is not None:
            return twin  # type: ignore[no-any-return]
    return None
