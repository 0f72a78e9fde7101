"""The walk: bias back-propagation over a recording, once backwards.

At every operation the bias that arrived from above and the bias that the operation itself puts in
(its intercept times the gradient) are added up and handed to the operation's inputs.

    tau = beta + G * intercept
    mixing:  beta_in[q] = sum_p alpha[p, q] tau[p], sum_q alpha[p, q] = 1
    the rest: beta_in goes where the value came from

The engine walks; a rule only splits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor

from biasmatters.affine import speculation
from biasmatters.affine.axis import add_up, row_sums
from biasmatters.affine.chain import Link, Place, linked, place
from biasmatters.affine.device import is_apart
from biasmatters.affine.errors import InputError
from biasmatters.affine.maps.ahead import look_for_holes, with_coefficients
from biasmatters.affine.modes import without_gradients
from biasmatters.affine.precision import full_precision
from biasmatters.affine.recording import Point, Step
from biasmatters.affine.walker import (
    BentFunction,
    BranchesFunction,
    Fallback,
    Probe,
    SplitFunction,
    Stranded,
    Walk,
)

# Steps that are walked before what was taken to hold is looked at, and how often that may not have
# held, even with bias stranded, before it is asked step by step.
STRETCH, FAILURES = 40, 2


@dataclass(frozen=True)
class WalkResult:
    """Bias maps for the inputs, the walk's accounts, and layer maps on request.

    Attributes:
        maps: Like the inputs.
        total: ``(N,)`` their sum.
        fallback_mass: As in `Walk`.
        dropped: Likewise.
        layers: By label.
    """

    maps: tuple[Tensor, ...]
    total: Tensor
    fallback_mass: Tensor
    dropped: Tensor
    layers: dict[str, Tensor]


def walk(
    point: Point,
    steps: list[Step],
    split: SplitFunction,
    *,
    fold: bool = True,
    fallback: Fallback = "uniform",
    keep_layers: bool = False,
    probe: Probe | None = None,
    put_in: Container[str] | None = None,
    branches: BranchesFunction | None = None,
    bent: BentFunction | None = None,
) -> WalkResult:
    """Propagate the bias of a recorded forward pass down to the inputs.

    Args:
        point: Of what `record` returned, or that itself.
        steps: Its steps. They are taken off the list, and let go as the walk is done with them: if
            nobody else holds them, their memory is free for what the walk makes (on a device apart
            from the host `STRETCH` of them at a time).
        split: The rule's split.
        fold: Whether the slopes after a mixing operation (batch-norm, activation) scale its
            contributions, as if folded into its weights.
        fallback: As in `Walk`.
        keep_layers: Whether to return the bias that arrives at each operation's output.
        probe: Called with every mixing operation.
        put_in: Labels of the operations whose own bias counts; None for all of them.
        branches: The rule's split of two branches, where it has one of its own.
        bent: The rule's split of bias above a bend, likewise.
    """
    with without_gradients(), full_precision(point.output.device):
        together = fold and not keep_layers and put_in is None
        scales = folded_scales(steps, together=together) if fold else {}
        state = Walk(split, fallback, point.samples, point.output, probe, branches, bent)
        todo: list[Step | Link | None]
        todo = list(map(linked, steps)) if together else list(steps)
        steps.clear()
        links = [s for s in todo if isinstance(s, Link)]
        # Inputs were looked at before the forward pass.
        state.finite = {place(x) for x in point.inputs} | {s.at for s in links if s.finite}
        floors = {s.at: s.bend.low for s in links if s.bend is not None}
        del links
        done = _Walked(state, scales, floors, put_in, {} if keep_layers else None)
        if is_apart(point.output) and probe is None:
            done = _by_stretches(todo, done)
        while todo:
            done.take(todo.pop(), len(todo))
        betas, state = done.betas, done.state
        maps = tuple(betas[id(x)] if id(x) in betas else torch.zeros_like(x) for x in point.inputs)
        total = add_up(finite_sums(maps))
    return WalkResult(maps, total, state.fallback_mass, state.dropped, done.layers or {})


@dataclass
class _Walked:
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

    def copy(self) -> _Walked:
        """The same, which can go on by itself."""
        layers = None if self.layers is None else dict(self.layers)
        scales, floors, betas = dict(self.scales), dict(self.floors), dict(self.betas)
        return _Walked(self.state.copy(), scales, floors, self.put_in, layers, betas)

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


def _by_stretches(todo: list[Step | Link | None], done: _Walked) -> _Walked:
    """Walk some steps by what mostly holds, and look afterwards; again with care where it did not.

    Args:
        todo: The steps, from which those that are done are taken off.
        done: How far the walk has come; after one that mostly fails, the rest is left to do.
    """
    makers = [s.form.maker for s in todo if isinstance(s, Step)]
    maps = with_coefficients(maker() for maker in makers if maker is not None)
    del makers

    def look_ahead() -> None:
        look_for_holes(maps)
        maps.clear()

    failures, none_stranded = 0, True
    while todo and failures < FAILURES:
        first = max(len(todo) - STRETCH, 0)
        stretch = [(todo[number], number) for number in reversed(range(first, len(todo)))]
        how = speculation.assuming(look_ahead, none_stranded=none_stranded)
        trial = _tried(done.copy(), stretch, how)
        if trial is not None:
            done = trial
        elif none_stranded:
            none_stranded = False  # what strands bias in one layer mostly does in the next
            continue
        else:
            failures += 1
            done.take_all(stretch)
        del todo[first:], trial, stretch
    return done


def _tried(
    trial: _Walked,
    stretch: Sequence[tuple[Step | Link | None, int]],
    how: AbstractContextManager[speculation.Assumptions],
) -> _Walked | None:
    """A walk after some steps by what mostly holds; None if it did not, or one could not go on."""
    # Only what is raised with care is an error.
    with suppress(Exception), how as assumed:
        trial.take_all(stretch)
        return trial if assumed.hold() else None
    return None


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


def finite_sums(maps: Iterable[Tensor]) -> list[Tensor]:
    """The sums of maps over all axes but the first; a map that is not finite is never returned."""
    found = [row_sums(values) for values in maps]
    for sums in found:
        bad = [i for i, value in enumerate(sums.tolist()) if not math.isfinite(value)]
        if bad:
            raise InputError(
                f"The bias map is not finite at sample index {bad[0]}: the model "
                "computes with infinities (or with numbers close to them) that no rule can share "
                "out. Use torch.finfo(dtype).min for a mask's -inf, and float32 or float64."
            )
    return found


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


def folded_scales(
    steps: Sequence[Step], *, together: bool = False
) -> dict[int, Callable[[], Tensor]]:
    """For each mixing step, the product of the slopes that follow it one to one.

    Args:
        steps: All of them.
        together: Whether to leave out steps that have a chain.
    """
    found: dict[int, Callable[[], Tensor]] = {}
    alone = [
        (i, step)
        for i, step in enumerate(steps)
        if step.form.foldable and not (together and step.chain is not None)
    ]
    users = users_of(steps) if alone else {}
    for i, step in alone:
        after = one_to_one_after(step, users)
        slopes = [s.form.slope for s in after if s.form.slope is not None]
        if slopes:
            found[i] = lambda slopes=slopes, out=step.output: _product(slopes, out)  # type: ignore[misc]
    return found


def users_of(steps: Sequence[Step]) -> dict[int, list[Step]]:
    """The steps that take a tensor, by its id."""
    users: dict[int, list[Step]] = {}
    for step in steps:
        for x in step.node.call.inputs:
            users.setdefault(id(x), []).append(step)
    return users


def one_to_one_after(step: Step, users: dict[int, list[Step]]) -> list[Step]:
    """The operations with a slope that alone take a step's output, one behind the other."""
    found: list[Step] = []
    while True:
        following = users.get(id(step.output), [])
        if len(following) != 1 or following[0].form.slope is None:
            return found
        if following[0].output.shape != step.output.shape:
            return found
        step = following[0]
        found.append(step)


def _product(slopes: list[Callable[[], Tensor]], like: Tensor) -> Tensor:
    scale = slopes[0]()
    for slope in slopes[1:]:
        scale = scale * slope()
    scale = scale.to(like)
    return scale if scale.shape == like.shape else scale.expand(like.shape)
