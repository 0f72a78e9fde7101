"""One forward pass, recorded, with the gradient of what is explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import torch
from torch import Tensor

import biasmatters.affine.ops  # noqa: F401 - registers the handlers
from biasmatters.affine.axis import per_sample
from biasmatters.affine.backward import (
    Gradients,
    by_autograd,
    can_go_step_by_step,
    let_go,
    step_by_step,
)
from biasmatters.affine.boundary import Boundary
from biasmatters.affine.chain import Chain, Composition, Made, compose, find_chains, link
from biasmatters.affine.device import is_apart
from biasmatters.affine.errors import InputError, UnsupportedOperationError
from biasmatters.affine.graph import functions_behind
from biasmatters.affine.guard import check_finite, check_inputs, evaluation
from biasmatters.affine.modes import with_gradients, without_gradients
from biasmatters.affine.node import Node
from biasmatters.affine.ops.attention import frozen_attention
from biasmatters.affine.padding import with_own_padding
from biasmatters.affine.precision import full_precision
from biasmatters.affine.registry import find_handler
from biasmatters.affine.scope import Scope
from biasmatters.affine.sealed import sealed
from biasmatters.affine.step import Derived, Held, Step, finite_constants
from biasmatters.affine.tape import Tape
from biasmatters.affine.target import (
    OutputSelector,
    checked_value,
    explained,
    pick_output,
    resolve_target,
)
from biasmatters.products import full_products
from biasmatters.types import Ledger, LedgerRow, Target

__all__ = ["Options", "Point", "Recording", "Step", "record"]


@dataclass(frozen=True)
class Options:
    """How a model is run.

    Attributes:
        args: Further positional arguments of the model.
        output: What to explain of a structured output: an index, key, attribute or callable.
        eval_mode: Whether to evaluate under ``eval()`` a model that is in training mode.
        freeze_attention: Whether attention weights count as constants.
        autograd: Whether the gradient has to be autograd's own, in one pass.
    """

    args: tuple[Any, ...] = ()
    output: OutputSelector = None
    eval_mode: bool = False
    freeze_attention: bool = False
    autograd: bool = True


@sealed
class Explained:
    """What is explained.

    Attributes:
        value: ``(N,)``.
        root: The recorded tensor that it was made of.
        target: ``(N,)`` its class, or None.
    """

    value: Tensor
    root: Tensor
    target: Tensor | None

    def at_root(self) -> Tensor:
        """The gradient of the value's sum at the root."""
        if self.target is None:
            return torch.ones_like(self.root)
        return torch.zeros_like(self.root).scatter_(1, self.target.unsqueeze(1), 1)


@dataclass(frozen=True)
class Point:
    """Where a model is explained, and the value and gradient there.

    Attributes:
        inputs: The model's inputs, as leaves.
        output: ``(N,)`` what is explained.
        target: ``(N,)`` its class, or None.
        weights: Gradient by each input.
    """

    inputs: tuple[Tensor, ...]
    output: Tensor
    target: Tensor | None
    weights: tuple[Tensor, ...]

    @property
    def samples(self) -> int:
        """Number of samples N."""
        return self.inputs[0].shape[0]


@dataclass(frozen=True)
class Recording(Point):
    """Everything the engine knows after one forward and one backward pass.

    Attributes:
        steps: The operations in order of execution.
        frozen: Operations that cut the dependence on the input.
        boundaries: Choices made beside the operations, such as comparisons.
    """

    steps: tuple[Step, ...]
    frozen: tuple[str, ...]
    boundaries: tuple[Boundary, ...]

    @property
    def point(self) -> Point:
        """All but what the operations were."""
        return Point(self.inputs, self.output, self.target, self.weights)

    @cached_property
    def accounts(self) -> tuple[Ledger, Tensor]:
        """`ledger` and `injected_mass`, which one pass gives."""
        with without_gradients():
            weighed = {label: pair for step in self.steps for label, pair in self._weighed(step)}
            if not weighed:
                zero = torch.zeros_like(self.output)
                return Ledger((LedgerRow("", "routing", "none", zero),)), zero
            steps = [step for step in self.steps if step.label in weighed]
            pairs = [weighed[step.label] for step in steps]
            formats = {self.output.dtype, *(pair.dtype for pair in pairs)}
            if len(formats) > 1:  # what is added up may leave the narrower ones
                wide = reduce(torch.promote_types, formats)
                pairs = [pair.to(wide) for pair in pairs]
            shares, sizes = torch.stack(pairs).unbind(1)
            rows = [
                LedgerRow(step.label, step.form.kind, step.node.call.op, share)
                for step, share in zip(steps, shares.unbind(), strict=True)
            ]
            return Ledger(tuple(rows)), sizes.sum(0).to(self.output.dtype)

    def _weighed(self, step: Step) -> list[tuple[str, Tensor]]:
        """The shares and sizes ``(2, N)`` of a step, or of all walked with it, by label."""
        if step.within:
            return []
        if step.chain is not None:
            return step.chain.weigh()
        grad, intercept = step.grad, step.intercept
        if grad is None or intercept is None:
            return []
        pair = _weigh(grad, intercept, step.node.axis, self.samples)
        return [(step.label, torch.stack(pair))]

    def ledger(self) -> Ledger:
        """The bias share of every operation that has an intercept."""
        return self.accounts[0]

    def injected_mass(self) -> Tensor:
        """Sum of ``|G * intercept|`` over all units of all operations, ``(N,)``."""
        return self.accounts[1]


def record(
    model: Callable[..., Any], inputs: tuple[Tensor, ...], target: Target, options: Options
) -> Recording:
    """Run a model once and read off the local form of everything it did.

    On a GPU its products are not rounded to TF32 (`biasmatters.products`).

    Args:
        model: A module or any function of tensors.
        inputs: Each ``(N, *features)``, floating point.
        target: As in `biasmatters.affine.target.resolve_target`, or a callable that takes the
            output and returns ``(N,)``.
        options: How the model is run.

    Raises:
        InputError, TrainingModeError, UnsupportedOperationError: With what to do next.
    """
    check_inputs(inputs)
    calm, exact = evaluation(model, options.eval_mode), full_products(inputs[0].device)
    with with_gradients(), exact, calm as state:
        leaves = tuple(
            (x.clone() if x.is_inference() else x).detach().requires_grad_() for x in inputs
        )
        scope = Scope(model, state)
        tape = Tape(leaves, scope)
        try:
            with frozen_attention(options.freeze_attention), scope.open(), tape:
                result = model(*leaves, *options.args)
            chosen = _explain(tape, pick_output(result, options.output), target, leaves)
            tape.constants.keep(state.changed())
            tape.constants.refuse_lost()
            plain = options.autograd or scope.hooked
            steps, weights = _differentiate(tape.nodes, chosen, leaves, plain=plain)
            frozen, boundaries = tuple(tape.frozen), tuple(tape.boundaries)
        finally:
            tape.release()
    value = chosen.value.detach()
    return Recording(leaves, value, chosen.target, weights, steps, frozen, boundaries)


def _explain(tape: Tape, output: Tensor, target: Target, leaves: tuple[Tensor, ...]) -> Explained:
    output = tape.current(output)
    samples = leaves[0].shape[0]
    if not tape.knows(output):
        op, name = tape.last_cut
        cut = f"; the last one that cut it was '{op}' in '{name or 'the model'}'" if op else ""
        raise UnsupportedOperationError(
            "",
            op or "the output",
            f"the output does not depend on the input by differentiable operations{cut}",
        )
    check_finite(output.detach(), "The model's output")
    if callable(target):
        with tape:
            made = target(output)
        value = checked_value(made, samples)
        value = tape.current(value)
        if not tape.knows(value):
            raise InputError(
                "What the callable target returned does not depend on the model's output by "
                "differentiable operations; return a part of it, e.g. lambda out: out[:, 3]."
            )
        return Explained(value, value, None)
    chosen = resolve_target(output, target, samples)
    return Explained(explained(output, chosen), output, chosen)


def _differentiate(
    nodes: list[Node], chosen: Explained, leaves: tuple[Tensor, ...], *, plain: bool
) -> tuple[tuple[Step, ...], tuple[Tensor, ...]]:
    functions = functions_behind(chosen.value)
    needed = _needed(nodes, functions)
    recorded = [node.call.output for node in nodes if id(node.call.output) in needed]
    nodes = with_own_padding(nodes, chosen.root)
    made: list[Made] = []
    for node in nodes:
        handler = find_handler(node.call.function, node.call.op)
        if handler is None:
            raise UnsupportedOperationError(node.call.name, node.call.op, "the engine lost it")
        made.append((node, handler(node.call)))
    labels = _labels(nodes)
    of_value = [i for i, node in enumerate(nodes) if id(node.call.output) in needed]
    if len(of_value) < len(nodes):
        made, labels = [made[i] for i in of_value], [labels[i] for i in of_value]
    chains = {
        first: compose(made, first, followers)
        for first, followers in find_chains(made, len(leaves[0])).items()
    }
    within = {i for chain in chains.values() for i in chain.followers}
    alone = [i for i in range(len(made)) if i not in within and i not in chains]
    constants = finite_constants([made[i][1] for i in alone])
    intercepts = dict(zip(alone, constants, strict=True))
    biased = [i for i, intercept in intercepts.items() if intercept is not None]
    biased += [chain.followers[-1] for chain in chains.values() if chain.biased]
    if plain or not chains or not can_go_step_by_step(functions, leaves, made):
        grads = by_autograd(chosen.value, leaves, made, biased)
    else:
        with torch.no_grad(), full_precision(chosen.value.device):
            grads = step_by_step(chosen.root, chosen.at_root(), leaves, made, biased, chains)
            let_go(recorded)
    steps = _steps(made, labels, chains, intercepts, grads)
    weights = tuple(
        torch.zeros_like(x) if g is None else g.contiguous()
        for x, g in zip(leaves, grads.inputs, strict=True)
    )
    return steps, weights


def _steps(
    made: list[Made],
    labels: list[str],
    chains: dict[int, Composition],
    intercepts: dict[int, Tensor | None],
    grads: Gradients,
) -> tuple[Step, ...]:
    """The steps; those of chains find their terms when they are asked for, from the chain's top."""
    found: dict[int, Step] = {}
    for first, chain in chains.items():
        above: Step | None = None
        for i in reversed(chain.followers):
            found[i] = above = _step(made[i], labels[i], grads.outputs.get(i), above, within=True)
        linked = link(chain, found[chain.followers[-1]], labels, grads.sums.get(first))
        found[first] = _step(made[first], labels[first], grads.outputs.get(first), above, linked)
    return tuple(
        found[i]
        if i in found
        else Step(node, form, labels[i], Held(intercepts[i], grads.outputs.get(i)))
        for i, (node, form) in enumerate(made)
    )


def _step(
    made: Made,
    label: str,
    grad: Tensor | None,
    above: Step | None,
    chain: Chain | None = None,
    *,
    within: bool = False,
) -> Step:
    """A step of a chain, below another one."""
    node, form = made
    return Step(node, form, label, Derived(form, grad, above), chain, within)


def _needed(nodes: list[Node], functions: list[Any]) -> set[int]:
    """Outputs that the explained value is made from; others neither have bias nor fold."""
    behind = set(functions)
    outputs = [node.call.output for node in nodes]
    return {id(output) for output in outputs if output.grad_fn in behind}


def _labels(nodes: list[Node]) -> list[str]:
    """Qualified module names, numbered where one module runs several operations."""
    counts: dict[str, int] = {}
    labels = []
    for node in nodes:
        base = node.call.name or node.call.op
        counts[base] = counts.get(base, 0) + 1
        labels.append(base if counts[base] == 1 else f"{base}#{counts[base]}")
    return labels


def _weigh(grad: Tensor, intercept: Tensor, axis: int, samples: int) -> tuple[Tensor, Tensor]:
    """``<G, intercept>`` of each sample, and that of their sizes."""
    if intercept.dtype != grad.dtype:
        intercept = intercept.to(grad.dtype)
    shape = [1] * (grad.ndim - intercept.ndim) + list(intercept.shape)
    repeats = [a for a in range(grad.ndim) if shape[a] == 1 and a != axis]
    if not repeats:
        product = grad * intercept.reshape(shape)
        share = per_sample(product, axis, samples)
        return share, per_sample(product.abs_(), axis, samples)
    # G is added up first where the intercept repeats.
    intercept = intercept.reshape(shape)
    product = grad.sum(repeats, keepdim=True) * intercept
    sizes = _sizes(grad, repeats) * intercept.abs()
    return per_sample(product, axis, samples), per_sample(sizes, axis, samples)


def _sizes(values: Tensor, axes: list[int]) -> Tensor:
    """The sum of the sizes over axes, which are kept."""
    if is_apart(values):
        sizes: Tensor = torch.linalg.vector_norm(values, 1, axes, keepdim=True)
        return sizes
    return values.abs().sum(axes, keepdim=True)
