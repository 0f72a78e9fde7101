"""The gradient at every recorded operation: by autograd, or step by step, which is faster.

Autograd goes through a convolution, its batch-norm and its ReLU one after the other and writes each
gradient to memory. Here what follows a mixing operation one to one is gone through together, in the
pass that finds the chain's part of the ledger as well, and convolutions go by maps that know them;
all else is autograd's, one operation at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.bent import bounds_of
from biasmatters.affine.call import Call
from biasmatters.affine.chain import Composition, Made
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.maps.planes import back_by_bent_planes
from biasmatters.affine.maps.points import back_by_bent_points


@dataclass
class Gradients:
    """What a backward pass found.

    Attributes:
        inputs: By each of the model's inputs, None where the value does not depend on it.
        outputs: By the output of each operation that was asked for, by its place.
        sums: What `biasmatters.kernels.bends.weigh` finds, by the place of a chain's first.
    """

    inputs: tuple[Tensor | None, ...]
    outputs: dict[int, Tensor | None]
    sums: dict[int, Tensor] = field(default_factory=dict)


def by_autograd(
    value: Tensor, leaves: Sequence[Tensor], made: Sequence[Made], places: Sequence[int]
) -> Gradients:
    """Autograd's own, in one pass.

    Args:
        value: What is explained, ``(N,)``.
        leaves: The model's inputs.
        made: The recorded operations.
        places: Of which of them the gradient is asked for.

    Raises:
        UnsupportedOperationError: For what autograd itself refuses; that is no fault of a form.
    """
    outputs = [made[i][0].call.output for i in places]
    grads = _autograd(value, [*leaves, *outputs], torch.ones_like(value), keep=False)
    return Gradients(grads[: len(leaves)], dict(zip(places, grads[len(leaves) :], strict=True)))


def step_by_step(
    root: Tensor,
    start: Tensor,
    leaves: Sequence[Tensor],
    made: Sequence[Made],
    places: Sequence[int],
    chains: Mapping[int, Composition],
) -> Gradients:
    """The same, chain by chain.

    Args:
        root: The recorded tensor that what is explained was made of.
        start: The gradient there.
        leaves: As in `by_autograd`.
        made: Likewise.
        places: Likewise.
        chains: What chains come to, by the place of their first.
    """
    within = {i for chain in chains.values() for i in chain.followers}
    asked, found = set(places), Gradients((), {})
    arrived: dict[int, Tensor] = {id(root): start}
    for i in reversed(range(len(made))):
        if i in within:
            continue
        chain = chains.get(i)
        top = i if chain is None else chain.followers[-1]
        y = made[top][0].call.output
        grad = arrived.pop(id(y), None)
        if chain is not None and grad is not None:
            grad = (grad if grad.dtype == y.dtype else grad.to(y.dtype)).contiguous()
        if top in asked:
            found.outputs[top] = grad
        if grad is None:
            continue
        if chain is None:
            below = _through(made[i], grad)
        else:
            bent = grad, y.detach(), chain.gain, bounds_of(chain.bend, y)
            below, found.sums[i] = _through_chain(made[i], bent)
        # Several inputs, as of a sum, may get the same tensor.
        inputs = made[i][0].call.inputs
        _add(arrived, inputs, below, own=chain is not None and len(inputs) == 1)
    found.inputs = tuple(arrived.get(id(leaf)) for leaf in leaves)
    return found


def let_go(outputs: Iterable[Tensor]) -> None:
    """Cut autograd's graph, which holds what chains have in between.

    A tensor that the model keeps needs no gradient from then on; what it was made by is gone, as
    behind any backward pass. Views cannot be cut off and keep all that lies before them.

    Args:
        outputs: All that what is explained was made of.
    """
    for output in outputs:
        if not output._is_view():  # noqa: SLF001 - no public one
            output.detach_()


def can_go_step_by_step(
    functions: Iterable[Any], leaves: Sequence[Tensor], made: Sequence[Made]
) -> bool:
    """Whether only the operations have a say in the backward pass, and all can be gone through.

    No hook has, and no function of the model's own. An operation that has to be run again, but was
    run under autocast, so that its format is narrower than an input's, would not be the same.

    Args:
        functions: Autograd's, behind what is explained.
        leaves: As in `by_autograd`.
        made: Likewise.
    """
    tensors = [*leaves, *(node.call.output for node, _ in made)]
    if any(tensor._backward_hooks for tensor in tensors):  # noqa: SLF001 - no public one
        return False
    again = [node.call for node, form in made if form.transpose is None]
    if any(len(call.inputs) > 1 and _is_narrow(call) for call in again):
        return False
    own = torch.autograd.function.BackwardCFunction
    return not any(issubclass(kind, own) for kind in set(map(type, functions)))


def _is_narrow(call: Call) -> bool:
    """Whether an output has a narrower format than an input."""
    out = call.output.dtype
    return any(torch.promote_types(x.dtype, out) != out for x in call.inputs)


def _add(
    arrived: dict[int, Tensor],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *,
    own: bool = False,
) -> None:
    """Add what inputs get to what has arrived; in its place, where it is nobody else's ``own``."""
    for x, grad in zip(inputs, grads, strict=True):
        if grad is None:
            continue
        old = arrived.get(id(x))
        if old is not None and own and grad.is_contiguous():
            arrived[id(x)] = grad.add_(old)
        else:
            arrived[id(x)] = grad if old is None else old + grad


def _through(made: Made, grad: Tensor) -> Sequence[Tensor | None]:
    """The gradients at an operation's inputs."""
    node, form = made
    call = node.call
    if form.transpose is not None:
        out = call.output.dtype
        return form.transpose(grad if grad.dtype == out else grad.to(out))
    if len(call.inputs) > 1:
        # One of them may be made of another, and autograd would go on from that to this.
        return call.vjp(grad)
    # The graph is kept: several outputs of an operation go through it one after the other.
    return _autograd(call.output, call.inputs, grad)


def _through_chain(
    recorded: Made, bent: tuple[Tensor, Tensor, Tensor | None, Tensor]
) -> tuple[Sequence[Tensor | None], Tensor]:
    """The gradient at a mixing operation's input for one above what follows it, and the sums."""
    node, form = recorded
    if form.maker is not None and form.transpose is not None:
        made, x = form.maker(), node.call.inputs[0].detach()
        found = back_by_bent_planes(made, x, bent) or back_by_bent_points(made, x, bent)
        if found is not None:
            return (found[0],), found[1]
    grad, sums = kernels.bends.pass_back(*bent)
    return _through(recorded, grad), sums


def _autograd(
    value: Tensor, by: Sequence[Tensor], grad: Tensor, *, keep: bool = True
) -> tuple[Tensor | None, ...]:
    """Autograd's gradients; ``keep`` is whether to go through the same graph again."""
    try:
        return torch.autograd.grad(
            value, by, grad.to(value.dtype), retain_graph=keep, allow_unused=True
        )
    except RuntimeError as error:
        in_place = "inplace operation" in str(error)
        raise UnsupportedOperationError(
            "",
            "the backward pass",
            f"autograd refuses it ({str(error).splitlines()[0]})",
            "The model must be one that plain PyTorch can differentiate."
            + (" Give .clone() of a constant that is changed later." if in_place else ""),
        ) from error
