"""A call as the tape runs it: out of place, and with nothing that the tape cannot follow."""

from __future__ import annotations

from typing import Any

import torch

from biasmatters.affine.call import Function
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.facts import Facts
from biasmatters.affine.registry import out_of_place
from biasmatters.affine.scope import Scope


def refuse_unseen(facts: Facts, scope: Scope) -> None:
    """Refuse what is no fixed function of its arguments, or hides what it does from the tape.

    Raises:
        UnsupportedOperationError: Naming the operation and its module.
    """
    if facts.random:
        raise UnsupportedOperationError(
            scope.current,
            facts.op,
            "it draws random numbers in the forward pass",
            "If that is for training only (dropout, stochastic depth), call model.eval() or "
            "pass eval_mode=True; else draw the numbers once, before, and pass them on.",
        )
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 - no public one
        raise UnsupportedOperationError(
            scope.current,
            facts.op,
            "it runs inside a transform of torch.func (vmap, grad, jvp, ...)",
            "Write the transform out: vmap as a batched operation, a derivative by hand.",
        )


def refuse_out(op: str, kwargs: dict[str, Any], scope: Scope) -> None:
    """Refuse ``out=``.

    Raises:
        UnsupportedOperationError: Naming the operation and its module.
    """
    if kwargs.get("out") is not None:
        raise UnsupportedOperationError(
            scope.current, op, "it writes into 'out='", "Return the result instead."
        )


def plain_call(
    function: Function, facts: Facts, args: Any, kwargs: Any, scope: Scope
) -> tuple[Function, Any, Any, bool]:
    """The call as an out-of-place one, and whether it was to change its first argument.

    Args:
        function: What is called.
        facts: Its own.
        args: Positional arguments.
        kwargs: Keyword arguments.
        scope: Says which module calls.

    Raises:
        UnsupportedOperationError: If that cannot be said in another way.
    """
    refuse_out(facts.op, kwargs, scope)
    if facts.in_place:
        twin = out_of_place(function)
        if twin is None:
            raise UnsupportedOperationError(
                scope.current, function.__name__, "it has no out-of-place twin"
            )
        return twin, args, kwargs, True
    if kwargs.get("inplace"):
        return function, args, {**kwargs, "inplace": False}, True
    position = facts.position
    if position is not None and len(args) > position and args[position]:
        return function, (*args[:position], False, *args[position + 1 :]), kwargs, True
    return function, args, kwargs, False
