"""One recorded call of a torch function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import is_
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.sealed import sealed

Function = Callable[..., Any]


# What most arguments are, and none holds a tensor.
_PLAIN = frozenset({type(None), bool, int, float, str, torch.dtype, torch.device, torch.Size})


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Apply a function to every tensor in nested lists, tuples and dicts."""
    kind = type(tree)
    if kind in _PLAIN:
        return tree
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return kind(*(map_tensors(function, item) for item in tree))
    if isinstance(tree, (list, tuple)):
        # Plain items are by far the most; one call each would cost more than all the rest.
        return kind([i if type(i) in _PLAIN else map_tensors(function, i) for i in tree])
    if isinstance(tree, dict):
        return {key: map_tensors(function, item) for key, item in tree.items()}
    return tree


def tensors_in(tree: Any) -> list[Tensor]:
    """Every tensor in nested lists, tuples and dicts, in order."""
    found: list[Tensor] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Tensor]) -> None:
    if isinstance(tree, Tensor):
        found.append(tree)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            if type(item) not in _PLAIN:
                _collect(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            if type(item) not in _PLAIN:
                _collect(item, found)


def tensors_of_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Tensor], bool]:
    """A call's tensors, in order, and whether the call is flat.

    It is if every argument is a tensor, plain, or a tuple of what is plain: then no tensor lies
    within another argument, and nothing can be changed later on.
    """
    found: list[Tensor] = []
    flat = True
    for argument in (*args, *kwargs.values()) if kwargs else args:
        kind = type(argument)
        if kind in _PLAIN:
            continue
        if isinstance(argument, Tensor):
            found.append(argument)
        elif kind is not tuple or not _PLAIN.issuperset(map(type, argument)):
            flat = False
            _collect(argument, found)
    return found, flat


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a torch function works on, given by place or by name."""
    return args[0] if args else kwargs.get("input", kwargs.get("self"))


def exchange(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    old: list[Tensor],
    new: list[Tensor],
    flat: bool,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments with other tensors in place of their own.

    What could be changed later on, such as a list that grows, is copied.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        old: The tensors among them, as `tensors_of_call` finds them.
        new: One for each of these.
        flat: As `tensors_of_call` says it.
    """
    if flat and (new is old or all(map(is_, old, new))):
        return args, kwargs
    if flat:
        others = iter(new)
        args = tuple([next(others) if isinstance(a, Tensor) else a for a in args])
        if not kwargs:
            return args, kwargs
        return args, {
            key: next(others) if isinstance(a, Tensor) else a for key, a in kwargs.items()
        }
    swap = {id(a): b for a, b in zip(old, new, strict=True)}

    def swapped(tensor: Tensor) -> Tensor:
        return swap[id(tensor)]

    return map_tensors(swapped, args), map_tensors(swapped, kwargs)


def finite(values: Tensor) -> Tensor:
    """Infinities as 0: an input of -inf, a masked logit, has the slope 0 and no linear part."""
    return values.masked_fill(values.isinf(), 0)


@sealed
class Call:
    """What ran: the function, its arguments, and one of its outputs.

    Attributes:
        function: The torch function, never an in-place one.
        op: Its canonical name, e.g. ``conv2d``.
        name: Qualified name of the calling module.
        args: Positional arguments as the function got them.
        kwargs: Keyword arguments.
        inputs: The distinct tensors among the arguments that depend on the input.
        output: The output tensor this record is about.
        index: Its place among several outputs.
        samples: Number of samples N in the batch.
        axes: For each of ``inputs``, the axis along which samples lie (sample-major).
    """

    function: Function
    op: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Tensor, ...]
    output: Tensor
    index: int
    samples: int
    axes: tuple[int, ...]

    def arg(self, position: int, keyword: str, default: Any = None) -> Any:
        """An argument by position or keyword."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(keyword, default)

    def with_output(self, output: Tensor) -> Call:
        """The same with another output."""
        return Call(
            self.function, self.op, self.name, self.args, self.kwargs, self.inputs, output,
            self.index, self.samples, self.axes,
        )  # fmt: skip

    def tracked(self, value: Any) -> bool:
        """Whether a value is one of the tensors that depend on the input."""
        return any(map(is_, self.inputs, repeat(value)))

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """Run the call again with other tensors in place of the tracked ones."""
        table = {id(old): new for old, new in zip(self.inputs, inputs, strict=True)}

        def swap(tensor: Tensor) -> Tensor:
            return table.get(id(tensor), tensor)

        out = self.function(*map_tensors(swap, self.args), **map_tensors(swap, self.kwargs))
        return tensors_in(out)[self.index] if not isinstance(out, Tensor) else out

    def vjp(self, tau: Tensor) -> tuple[Tensor, ...]:
        """Transpose of the call's local Jacobian times tau, one tensor for each input."""
        leaves = [tensor.detach().requires_grad_() for tensor in self.inputs]
        with torch.enable_grad():
            out = self.run(leaves)
        grads = torch.autograd.grad(out, leaves, tau.to(out.dtype), allow_unused=True)
        return tuple(
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves, grads, strict=True)
        )

    def jvp(self) -> Tensor:
        """The call's local Jacobian times its own inputs, like the output.

        Reverse mode twice: ``J v = d/du <J^T u, v>``, which every twice differentiable operation
        has, also where torch lacks its forward mode. An input of -inf, a masked logit, has the
        derivative 0 and counts as 0.
        """
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in self.inputs]
            out = self.run(leaves)
            dual = torch.zeros_like(out).requires_grad_()
            pulled = torch.autograd.grad(out, leaves, dual, create_graph=True, allow_unused=True)
            terms = [
                (p * finite(leaf.detach())).sum()
                for p, leaf in zip(pulled, leaves, strict=True)
                if p is not None
            ]
            return torch.autograd.grad(torch.stack(terms).sum(), dual)[0]
