"""The tape: a record of every torch function between an input and an output.

The forward pass runs eagerly under a `torch.overrides.TorchFunctionMode`, at the level of
`torch.nn.functional`. A call that gets a tensor which depends on the input is recorded; it sees
everything else as a constant, so its output requires grad exactly if autograd says that it depends
on the input, and in-place functions run out of place, so every recorded value stays as it was. All
other calls run as they are: what a model computes of its parameters alone is its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from biasmatters.affine.axis import follow
from biasmatters.affine.boundary import Boundary, of_comparison, unmeasured
from biasmatters.affine.call import (
    Call,
    Function,
    exchange,
    first_argument,
    map_tensors,
    tensors_in,
    tensors_of_call,
)
from biasmatters.affine.checkpoint import recomputes, without_recomputation
from biasmatters.affine.constants import Constants, storage, written_by
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.facts import Facts, facts_of
from biasmatters.affine.graph import functions_behind
from biasmatters.affine.guard import refuse_training
from biasmatters.affine.node import Node
from biasmatters.affine.plain_call import plain_call, refuse_out, refuse_unseen
from biasmatters.affine.registry import (
    Decomposition,
    canonical,
    find_decomposition,
    find_handler,
)
from biasmatters.affine.scope import Scope
from biasmatters.affine.views import Views, written
from biasmatters.affine.vocabulary import (
    COMPARES,
    COUNTS,
    LEAVES_TORCH,
    SHAPED,
)

_BY_ITS_OWN_WAY = "Write the operation with torch functions, which the tape sees."


def _name(maker: Any) -> str:
    """Name of an autograd function, empty for none."""
    return "" if maker is None else str(maker.name())


def _followed(function: Function, args: Any, kwargs: Any) -> Any:
    """What a function returns, with gradients on, whatever the model says."""
    # They mostly are on and nothing is recomputed, and asking takes the least time.
    if torch.is_grad_enabled() and not recomputes():
        return function(*args, **kwargs)
    with torch.enable_grad(), without_recomputation():
        return function(*args, **kwargs)


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
        self.constants = Constants(self.nodes)
        self._scope = scope
        self._samples = inputs[0].shape[0] if inputs[0].ndim else 1
        self._axis = {id(x): 0 for x in inputs}
        self._known: dict[int, Tensor] = {id(x): x for x in inputs}
        self._apart: dict[int, Tensor] = {}
        self._plain: dict[int, tuple[Tensor, Tensor]] = {}
        self._made_by: dict[int, Any] = {id(x): None for x in inputs}
        self._views = Views(self._replay)
        self._inputs: tuple[Tensor, ...] = inputs
        self.last_cut = ("", "")

    def __torch_function__(
        self, func: Function, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        facts = facts_of(func)
        op, variable = facts.op, first_argument(args, kwargs)
        if facts.asks and self._is_as_it_was(variable):
            return func(*args, **kwargs)
        held, flat = tensors_of_call(args, kwargs)
        values, inputs, constants = self._look_up(held)
        refuse_unseen(facts, self._scope)
        args, kwargs = exchange(args, kwargs, held, values, flat)
        if facts.asks:
            return func(*args, **kwargs)
        if not inputs:
            return self._run_beside(func, args, kwargs, variable)
        if facts.writes and (write := self._write(func, op, args, kwargs)) is not None:
            self._views.replace(variable, self._replay(*write))
            return None if func is torch.Tensor.__setitem__ else variable
        if func is torch.Tensor.requires_grad_ and all((*args[1:], *kwargs.values())):
            return variable
        rewrite = find_decomposition(func, op)
        if rewrite is not None:
            rewritten = self._rewritten(rewrite, op, args, kwargs)
            return self._views.replace(variable, rewritten) if facts.in_place else rewritten
        plain, args, kwargs, changes = plain_call(func, facts, args, kwargs, self._scope)
        out = self._apply(plain, facts, args, kwargs, inputs, constants)
        if changes:
            if out.dtype != args[0].dtype:
                out = self._replay(torch.Tensor.to, out, args[0].dtype)
            return self._views.replace(variable, out)
        if not facts.new:
            self._views.note(plain, args, kwargs, variable, out)
        return out

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input by recorded operations."""
        return id(self.current(tensor)) in self._known

    def current(self, tensor: Tensor) -> Tensor:
        """The present value of a tensor that may have been changed in place."""
        return self._constant(self._value(tensor))

    def release(self) -> None:
        """Forget everything that was recorded."""
        self._inputs = ()
        self.nodes.clear()
        for table in (self._known, self._apart, self._plain, self._axis, self._made_by):
            table.clear()
        self._views.clear()
        self.constants.clear()

    def _run_beside(
        self, function: Function, args: Any, kwargs: dict[str, Any], variable: Any
    ) -> Any:
        """Run what has no part in the dependence on the input, as it is."""
        written_to = written_by(function, args, kwargs)
        if written_to:
            self._refuse_hidden_write(canonical(function), written_to)
            self.constants.keep(written_to)
        out = function(*args, **kwargs)
        for tensor in tensors_in(out):
            if tensor.grad_fn is not None:
                self._apart[id(tensor)] = tensor
        self._views.note(function, args, kwargs, variable, out)
        return out

    def _write(self, func: Function, op: str, args: Any, kwargs: Any) -> tuple[Any, ...] | None:
        """As `written` has it; refused where autograd would not see it."""
        if op == "set_data":
            self._refuse_hidden_write(op, [args[0]])
        return written(op, func, args, kwargs)

    def _rewritten(self, rewrite: Decomposition, op: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """What the parts of a composite function return, each recorded."""
        refuse_out(op, kwargs, self._scope)
        with self:
            return rewrite(*args, **{key: kwargs[key] for key in kwargs if key != "out"})

    def _apply(
        self,
        function: Function,
        facts: Facts,
        args: Any,
        kwargs: Any,
        inputs: tuple[Tensor, ...],
        constants: list[Tensor],
    ) -> Any:
        if facts.trains:
            refuse_training(facts.op, self._scope.current, args, kwargs)
        out = _followed(function, args, kwargs)
        self._record(function, facts, args, kwargs, inputs, constants, out)
        return out

    def _replay(self, function: Function, *args: Any) -> Any:
        """Run and record one of our own functions."""
        args = map_tensors(self.current, args)
        tensors = tensors_in(args)
        inputs = self._tracked(tensors)
        if not inputs:
            return function(*args)
        if function.__name__ == "locate":
            with self:
                return function(*args)
        _, constants = self._without_autograd(tensors)
        return self._apply(function, facts_of(function), args, {}, inputs, constants)

    def _look_up(self, held: list[Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...], list[Tensor]]:
        """What tensors hold now, and which of these depend on the input, once each.

        If any does, the others are constants, and follow.
        """
        # Before the first change in place every variable holds what it is itself.
        values = list(map(self._views.current, held)) if self._views.changed else held
        known = self._known
        found = [tensor for tensor in values if id(tensor) in known]
        if len(found) == len(values):
            return values, self._distinct(found), []
        if not found:
            return [self._checked(tensor) for tensor in values], (), []
        inputs, (values, constants) = self._distinct(found), self._without_autograd(values)
        return values, inputs, constants

    def _without_autograd(self, values: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Values as a recorded call sees them, and those that do not depend on the input."""
        seen, constants, known = [], [], self._known
        for value in values:
            if id(value) in known:
                seen.append(value)
                continue
            constant = self._constant(self._checked(value))
            seen.append(constant)
            constants.append(constant)
        return seen, constants

    def _value(self, tensor: Tensor) -> Tensor:
        """What a tensor holds now, as `_checked` has it."""
        return self._checked(self._views.current(tensor))

    def _checked(self, tensor: Tensor) -> Tensor:
        """A tensor itself; refused if it depends on the input in a way not recorded."""
        if id(tensor) in self._known or id(tensor) in self._apart:
            return tensor
        if tensor.is_inference():
            return self._constant(tensor)
        if tensor.grad_fn is not None:
            if self._reaches_input(tensor):
                raise UnsupportedOperationError(
                    self._scope.current,
                    type(tensor.grad_fn).__name__.removesuffix("Backward"),
                    "its result depends on the input by a way that is no torch function "
                    "(a custom autograd.Function or a scripted module)",
                    _BY_ITS_OWN_WAY,
                )
            self._apart[id(tensor)] = tensor
        return tensor

    def _constant(self, tensor: Tensor) -> Tensor:
        """A tensor as a recorded call sees it: parameters and what is made of them do not move."""
        if id(tensor) in self._known or not (tensor.requires_grad or tensor.is_inference()):
            return tensor
        if id(tensor) not in self._plain:
            plain = tensor.detach()
            self._plain[id(tensor)] = (tensor, plain.clone() if plain.is_inference() else plain)
        return self._plain[id(tensor)][1]

    def _reaches_input(self, tensor: Tensor) -> bool:
        leaves = (getattr(function, "variable", None) for function in functions_behind(tensor))
        return any(leaf is x for leaf in leaves if leaf is not None for x in self._inputs)

    def _is_as_it_was(self, variable: Any) -> bool:
        """Whether nothing happened to a tensor, or to any view, since it was recorded."""
        made_by = self._made_by.get(id(variable))
        return not self._views.changed and made_by is getattr(variable, "grad_fn", None)

    def _tracked(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """The distinct tensors among some that depend on the input by recorded operations."""
        return self._distinct([t for t in tensors if id(t) in self._known])

    def _distinct(self, found: list[Tensor]) -> tuple[Tensor, ...]:
        """Each of some tensors that depend on the input once."""
        if len(found) > 1:
            found = list({id(t): t for t in found}.values())
        for tensor in found:
            recorded, now = self._made_by[id(tensor)], tensor.grad_fn
            # As good as always it is the same object, whose name need not be asked for.
            if recorded is not now:
                self._made_by[id(tensor)] = now
                if _name(recorded) != _name(now):
                    self._note_own_backward(_name(now))
        return tuple(found)

    def _note_own_backward(self, function: str) -> None:
        """Name an autograd function that took the place of a recorded one."""
        if function.startswith("CheckpointFunction"):
            raise UnsupportedOperationError(
                self._scope.current,
                "checkpoint",
                "with use_reentrant=True it hides its operations",
                "Give torch.utils.checkpoint.checkpoint use_reentrant=False.",
            )
        # The backward hooks of a module stand in the graph as an identity of torch's own.
        if function != "BackwardHookFunctionBackward":
            self.frozen.append(f"{function} (a custom autograd.Function, its backward on trust)")

    def _refuse_hidden_write(self, op: str, tensors: list[Tensor]) -> None:
        """Refuse ``h.data.mul_(2)``: it changes a recorded value past the record."""
        places = {storage(tensor) for tensor in tensors} - {None}
        if any(storage(tensor) in places for tensor in self._known.values()):
            raise UnsupportedOperationError(
                self._scope.current,
                op,
                "it changes a tensor that depends on the input, by way of .data or .detach()",
                "Change a copy, made by .detach().clone(), or compute a new tensor.",
            )

    def _record(
        self,
        func: Function,
        facts: Facts,
        args: Any,
        kwargs: Any,
        inputs: tuple[Tensor, ...],
        constants: list[Tensor],
        out: Any,
    ) -> None:
        op, outputs = facts.op, [out] if isinstance(out, Tensor) else tensors_in(out)
        made = [(i, t) for i, t in enumerate(outputs) if t.requires_grad]
        if not made:
            self._note_cut(op, args, kwargs, outputs)
            self._note_choice(op, args, inputs, outputs)
            return
        name = self._scope.current
        if find_handler(func, op) is None:
            raise UnsupportedOperationError(name, op, "the engine does not know it")
        axes = tuple([self._axis[id(x)] for x in inputs])
        for index, output in made:
            key = id(output)
            if key in self._known:
                continue
            call = Call(func, op, name, args, kwargs, inputs, output, index, self._samples, axes)
            axis = follow(call, moves=facts.moves)
            node = Node(call, axis)
            self.nodes.append(node)
            if constants:
                self.constants.note(node, constants)
            self._known[key], self._axis[key] = output, axis
            self._made_by[key] = output.grad_fn

    def _note_cut(self, op: str, args: Any, kwargs: Any, outputs: list[Tensor]) -> None:
        name = self._scope.current
        if op == "get_grad_fn":
            self._scope.hooked = True  # what is done with it cannot be seen
        if op in SHAPED and not self._tracked(tensors_in((args[1:], kwargs))):
            return
        cuts = any(out.is_floating_point() for out in outputs) and op not in COUNTS
        if cuts or (op in LEAVES_TORCH and not outputs):
            self.frozen.append(f"{name} ({op})" if name else op)
        if outputs and not op.startswith(("get_", "__")):
            self.last_cut = (op, name)

    def _note_choice(
        self, op: str, args: Any, inputs: tuple[Tensor, ...], outputs: list[Tensor]
    ) -> None:
        """A mask or an index found from the input's values: its boundary counts for the margin."""
        if op in SHAPED or op.startswith("get_") or not outputs:
            return
        axis = self._axis[id(inputs[0])]
        if op in COMPARES and len(args) == 2 and outputs[0].shape == inputs[0].shape:
            self.boundaries.append(of_comparison(args, inputs, axis))
        elif op in COUNTS or not any(out.is_floating_point() for out in outputs):
            self.boundaries.append(unmeasured(inputs[0], axis))
