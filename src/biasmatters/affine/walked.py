"""How far a walk has come, and how it goes on by a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from biasmatters.affine.chain import Link, Place, place
from biasmatters.affine.step import Step
from biasmatters.affine.walker import Stranded, Walk


@dataclass
class Walked:
    """How far a walk has come.

    Attributes:
        state: Of the walk.
        scales: The slopes that are folded into steps to come, by their places.
        floors: What tensors are known not to lie below.
        put_in: As in `walk`.
        layers: The bias that arrived at each step, by label; None where nobody asks.
        betas: What has arrived at tensors, by their id.
    """

    state: Walk
    scales: dict[int, Callable[[], Tensor]]
    floors: dict[Place, float]
    put_in: Container[str] | None
    layers: dict[str, Tensor] | None
    betas: dict[int, Tensor] = field(default_factory=dict)

    def copy(self) -> Walked:
        """The same, which can go on by itself."""
        layers = None if self.layers is None else dict(self.layers)
        scales, floors, betas = dict(self.scales), dict(self.floors), dict(self.betas)
        return Walked(self.state.copy(), scales, floors, self.put_in, layers, betas)

    def take_all(self, stretch: Sequence[tuple[Step | Link | None, int]]) -> None:
        """Hand on the bias of several steps at their places."""
        for step, number in stretch:
            self.take(step, number)

    def take(self, step: Step | Link | None, number: int) -> None:
        """Hand on the bias of a step at a place."""
        scale = self.scales.pop(number, None)
        if step is None:
            return
        if isinstance(step, Link):
            hand_on_together(step, self.state, self.betas, self.floors)
            self.state.finite.discard(step.at)
            self.floors.pop(step.at, None)
            return
        own = self.put_in is None or step.label in self.put_in
        tau = _total(self.betas.pop(id(step.output), None), step, own=own)
        if tau is None:
            return
        if self.layers is not None:
            self.layers[step.label] = tau
        hand_on(step, tau, self.state, None if scale is None else scale(), self.betas)


def hand_on(
    step: Step, tau: Tensor, state: Walk, scale: Tensor | None, betas: dict[int, Tensor]
) -> None:
    """Hand one step's bias to its inputs.

    Args:
        step: A recorded operation.
        tau: Like its output.
        state: Of the walk.
        scale: The slope that is folded into it, or None.
        betas: What has arrived at tensors so far, by their id; it is added to.
    """
    state.enter(step, scale)
    _add(step, step.form.pull(tau, state), betas)


def _add(
    step: Step | Link, pulled: tuple[Tensor, ...], betas: dict[int, Tensor], *, own: bool = False
) -> None:
    """Add what inputs get to what has arrived; in its place, where it is nobody else's ``own``."""
    for x, beta in zip(step.node.call.inputs, pulled, strict=True):
        old = betas.get(id(x))
        beta = beta if beta.dtype == x.dtype else beta.to(x.dtype)
        if old is not None:
            beta = beta.add_(old) if own else old + beta
        betas[id(x)] = beta


def hand_on_together(
    link: Link, state: Walk, betas: dict[int, Tensor], floors: dict[Place, float]
) -> None:
    """Hand the bias of a mixing step, and of all that follows it one to one, to its inputs.

    Args:
        link: The step with what follows it.
        state: As in `hand_on`.
        betas: Likewise.
        floors: What tensors are known not to lie below.
    """
    floor = floors.get(place(link.node.call.inputs[0]), -math.inf)
    bent = link.bent(betas.pop(id(link.y), None), floor)
    if bent is None:
        return
    state.enter(link, None)
    found = None if link.maker is None else state.mix_bent(link.maker(), link, bent)
    own = found is not None
    if found is None:
        share, stranded, mass = bent.written_out()
        state.enter(link, link.scale(), None if stranded is None else Stranded(stranded, mass))
        found = link.form.pull(share, state)
    _add(link, found, betas, own=own)


def _total(beta: Tensor | None, step: Step, *, own: bool) -> Tensor | None:
    if not own:
        return beta
    if beta is None:
        return step.injected()
    grad, intercept = step.grad, step.intercept
    if grad is None or intercept is None:
        return beta
    if beta.dtype == grad.dtype == intercept.dtype:
        return torch.addcmul(beta, grad, intercept)
    return beta + grad * intercept
