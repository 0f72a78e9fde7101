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
from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.axis import add_up, row_sums
from biasmatters.affine.chain import Link, linked, place
from biasmatters.affine.device import is_apart
from biasmatters.affine.errors import InputError
from biasmatters.affine.modes import without_gradients
from biasmatters.affine.precision import full_precision
from biasmatters.affine.recording import Point, Step
from biasmatters.affine.speculation import allowed
from biasmatters.affine.stretches import by_stretches
from biasmatters.affine.walked import Walked
from biasmatters.affine.walker import (
    BentFunction,
    BranchesFunction,
    Fallback,
    Probe,
    SplitFunction,
    Walk,
)


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
        done = Walked(state, scales, floors, put_in, {} if keep_layers else None)
        if is_apart(point.output) and probe is None and allowed():
            done = by_stretches(todo, done)
        while todo:
            done.take(todo.pop(), len(todo))
        betas, state = done.betas, done.state
        maps = tuple(betas[id(x)] if id(x) in betas else torch.zeros_like(x) for x in point.inputs)
        total = add_up(finite_sums(maps))
    return WalkResult(maps, total, state.fallback_mass, state.dropped, done.layers or {})


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
    # Whoever takes an output comes later.
    users = users_of(steps[alone[0][0] + 1 :]) if alone else {}
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
