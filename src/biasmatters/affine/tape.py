"""The tape: a record of every torch function between an input and an output.

The forward pass runs eagerly under a `torch.overrides.TorchFunctionMode`, at the level of
`torch.nn.functional`. Parameters are swapped for detached views, so a tensor requires grad exactly
if autograd says that it depends on the input, and in-place functions run out of place, so every
recorded value stays as it was. Nothing is left on the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from biasmatters.affine.axis import follow
from biasmatters.affine.call import Call, Function, map_tensors, tensors_in
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.graph import functions_behind
from biasmatters.affine.guard import refuse_training
from biasmatters.affine.registry import (
    canonical,
    find_decomposition,
    find_handler,
    is_in_place,
    out_of_place,
)
from biasmatters.affine.scope import Scope
from biasmatters.affine.views import Views, written

_RANDOM = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli",
    "multinomial", "normal", "uniform", "exponential", "poisson", "cauchy", "log_normal",
    "geometric", "random", "native_dropout",
}  # fmt: skip
_STEPS = {"heaviside", "histc", "bincount", "one_hot", "isclose", "signbit"}
# Their results have the shape and type of a tensor, and nothing of its values.
_SHAPED = {"ones_like", "zeros_like", "empty_like", "full_like", "new_zeros", "new_ones",
           "new_full", "new_empty"}  # fmt: skip
_COMPARES = {"__gt__", "__lt__", "__ge__", "__le__", "__eq__", "__ne__", "gt", "lt", "ge", "le",
             "eq", "ne", "greater", "less", "greater_equal", "less_equal"}  # fmt: skip
_DETACHES = {"item", "tolist", "numpy", "__float__", "__int__", "__array__"}


@dataclass(frozen=True)
class Node:
    """One recorded operation: its call and where its samples lie."""

    call: Call
    axis: int


@lru_cache(maxsize=512)
def _inplace_position(function: Function) -> int | None:
    """Place of an ``inplace`` flag among a function's parameters, or None."""
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None
    return names.index("inplace") if "inplace" in names else None


@dataclass(frozen=True)
class Boundary:
    """A choice made from the input's values, such as a comparison.

    Attributes:
        gap: How far each unit is from the other choice, NaN where that is not measured.
        axis: Where the samples of ``gap`` lie.
    """

    gap: Callable[[], Tensor]
    axis: int


def _maker(tensor: Tensor) -> str:
    """Name of the autograd function that made a tensor."""
    return "" if tensor.grad_fn is None else tensor.grad_fn.name()


class Tape(TorchFunctionMode):
    """Records a forward pass.

    Attributes:
        nodes: What was recorded, in order of execution.
        frozen: Names of operations that cut the dependence on the input, such as ``detach``.
        boundaries: Choices that are no part of the nodes.
    """

    def __init__(self, inputs: tuple[Tensor, ...], scope: Scope) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.frozen: list[str] = []
        self.boundaries: list[Boundary] = []
        self._scope = scope
        self._samples = inputs[0].shape[0] if inputs[0].ndim else 1
        self._axis = {id(x): 0 for x in inputs}
        self._known: dict[int, Tensor] = {id(x): x for x in inputs}
        self._plain: dict[int, tuple[Tensor, Tensor]] = {}
        self._made_by: dict[int, str] = {id(x): "" for x in inputs}
        self._views = Views(self._replay)
        self._inputs: tuple[Tensor, ...] = inputs
        self.last_cut = ("", "")

    def __torch_function__(
        self, func: Function, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        variable: Any = args[0] if args else (kwargs or {}).get("input", (kwargs or {}).get("self"))
        args, kwargs = map_tensors(self._current, args), map_tensors(self._current, kwargs or {})
        inputs = self._tracked((args, kwargs))
        op = canonical(func)
        if op in _RANDOM:
            raise UnsupportedOperationError(
                self._scope.current, op, "it draws random numbers in the forward pass"
            )
        if not inputs:
            out = func(*args, **kwargs)
            self._views.note(func, args, kwargs, variable, out)
            return out
        write = written(op, func, args, kwargs)
        if write is not None:
            self._views.replace(variable, self._replay(*write))
            return None if func is torch.Tensor.__setitem__ else variable
        if func is torch.Tensor.requires_grad_ and all((*args[1:], *kwargs.values())):
            return variable
        rewrite = find_decomposition(func, op)
        if rewrite is not None:
            self._refuse_out(op, kwargs)
            kwargs = {key: value for key, value in kwargs.items() if key != "out"}
            with self:
                rewritten = rewrite(*args, **kwargs)
            return self._views.replace(variable, rewritten) if is_in_place(func) else rewritten
        plain, args, kwargs, changes = self._plain_call(func, op, args, kwargs)
        out = self._apply(plain, op, args, kwargs, inputs)
        if changes:
            if out.dtype != args[0].dtype:
                out = self._replay(torch.Tensor.to, out, args[0].dtype)
            return self._views.replace(variable, out)
        self._views.note(plain, args, kwargs, variable, out)
        return out

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input by recorded operations."""
        return id(self._current(tensor)) in self._known

    def current(self, tensor: Tensor) -> Tensor:
        """The present value of a tensor that may have been changed in place."""
        return self._current(tensor)

    def release(self) -> None:
        """Forget everything that was recorded."""
        self._inputs = ()
        self.nodes.clear()
        for table in (self._known, self._plain, self._axis, self._made_by):
            table.clear()
        self._views.clear()

    def _apply(
        self, function: Function, op: str, args: Any, kwargs: Any, inputs: tuple[Tensor, ...]
    ) -> Any:
        refuse_training(op, self._scope.current, args, kwargs)
        with torch.enable_grad():
            out = function(*args, **kwargs)
        self._record(function, op, args, kwargs, inputs, out)
        return out

    def _replay(self, function: Function, *args: Any) -> Any:
        """Run and record one of our own functions."""
        op = getattr(function, "__name__", "")
        args = map_tensors(self._current, args)
        inputs = self._tracked(args)
        if not inputs:
            return function(*args)
        if op == "locate":
            with self:
                return function(*args)
        return self._apply(function, op, args, {}, inputs)

    def _current(self, tensor: Tensor) -> Tensor:
        tensor = self._views.current(tensor)
        if id(tensor) in self._known or not self._needs_swap(tensor):
            return tensor
        if tensor.grad_fn is not None and self._reaches_input(tensor):
            raise UnsupportedOperationError(
                self._scope.current,
                type(tensor.grad_fn).__name__.removesuffix("Backward"),
                "its result depends on the input by a way that is no torch function "
                "(a custom autograd.Function or a scripted module)",
            )
        if id(tensor) not in self._plain:
            plain = tensor.detach()
            self._plain[id(tensor)] = (tensor, plain.clone() if plain.is_inference() else plain)
        return self._plain[id(tensor)][1]

    @staticmethod
    def _needs_swap(tensor: Tensor) -> bool:
        return tensor.requires_grad or tensor.is_inference()

    def _reaches_input(self, tensor: Tensor) -> bool:
        leaves = (getattr(function, "variable", None) for function in functions_behind(tensor))
        return any(leaf is x for leaf in leaves if leaf is not None for x in self._inputs)

    def _tracked(self, tree: Any) -> tuple[Tensor, ...]:
        found = {id(t): t for t in tensors_in(tree) if id(t) in self._known}
        for key, tensor in found.items():
            recorded, now = self._made_by.get(key), _maker(tensor)
            if recorded != now:
                self._made_by[key] = now
                self.frozen.append(f"{now} (a custom autograd.Function, its backward on trust)")
        return tuple(found.values())

    def _refuse_out(self, op: str, kwargs: dict[str, Any]) -> None:
        if kwargs.get("out") is not None:
            raise UnsupportedOperationError(
                self._scope.current, op, "it writes into 'out='; return the result instead"
            )

    def _plain_call(
        self, func: Function, op: str, args: Any, kwargs: Any
    ) -> tuple[Function, Any, Any, bool]:
        """The call as an out-of-place one, and whether it was to change its first argument."""
        self._refuse_out(op, kwargs)
        if is_in_place(func):
            twin = out_of_place(func)
            if twin is None:
                raise UnsupportedOperationError(
                    self._scope.current, func.__name__, "it has no out-of-place twin"
                )
            return twin, args, kwargs, True
        if kwargs.get("inplace"):
            return func, args, {**kwargs, "inplace": False}, True
        position = _inplace_position(func)
        if position is not None and len(args) > position and args[position]:
            return func, (*args[:position], False, *args[position + 1 :]), kwargs, True
        return func, args, kwargs, False

    def _record(
        self, func: Function, op: str, args: Any, kwargs: Any, inputs: tuple[Tensor, ...], out: Any
    ) -> None:
        outputs = tensors_in(out)
        if not any(t.requires_grad for t in outputs):
            self._note_cut(op, outputs)
            self._note_choice(op, args, inputs, outputs)
            return
        name = self._scope.current
        if find_handler(func, op) is None:
            raise UnsupportedOperationError(name, op, "the engine does not know it")
        axes = tuple(self._axis[id(x)] for x in inputs)
        for index, output in enumerate(outputs):
            if not output.requires_grad or id(output) in self._known:
                continue
            call = Call(func, op, name, args, kwargs, inputs, output, index, self._samples, axes)
            axis = follow(call, moves=op in MOVES)
            self.nodes.append(Node(call, axis))
            self._known[id(output)] = output
            self._axis[id(output)] = axis
            self._made_by[id(output)] = _maker(output)

    def _note_cut(self, op: str, outputs: list[Tensor]) -> None:
        name = self._scope.current
        if op in _SHAPED:
            return
        cuts = any(out.is_floating_point() for out in outputs) and op not in _STEPS
        if cuts or (op in _DETACHES and not outputs):
            self.frozen.append(f"{name} ({op})" if name else op)
        if outputs and not op.startswith(("get_", "__")):
            self.last_cut = (op, name)

    def _note_choice(
        self, op: str, args: Any, inputs: tuple[Tensor, ...], outputs: list[Tensor]
    ) -> None:
        """A mask or an index found from the input's values: its boundary counts for the margin."""
        if op in _SHAPED or op.startswith("get_") or not outputs:
            return
        axis = self._axis[id(inputs[0])]
        if op in _COMPARES and len(args) == 2:
            # Distances shrink on both sides of a comparison of two tensors that move.
            share = 1.0 / sum(1 for a in args if any(a is x for x in inputs))
            a, b = (x.detach() if isinstance(x, Tensor) else x for x in args)
            if outputs[0].shape == inputs[0].shape:
                self.boundaries.append(Boundary(lambda: (a - b).abs() * share, axis))
                return
        if not any(out.is_floating_point() for out in outputs):
            like = inputs[0]
            nan = torch.full_like(like, torch.nan, requires_grad=False)
            self.boundaries.append(Boundary(lambda: nan, axis))


MOVES = {
    "flatten", "unflatten", "reshape", "view", "view_as", "reshape_as", "permute", "transpose",
    "swapaxes", "swapdims", "movedim", "moveaxis", "t", "get_T", "get_mT", "squeeze", "unsqueeze",
    "expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave", "flip", "fliplr",
    "flipud", "roll", "rot90", "split", "chunk", "tensor_split", "unbind", "split_with_sizes",
    "narrow", "select", "getitem", "index_select", "diagonal", "ravel", "stack", "atleast_1d",
    "atleast_2d", "atleast_3d", "hsplit", "vsplit", "dsplit", "masked_select", "as_strided",
    "write_at_index", "write_into_view",
}  # fmt: skip
