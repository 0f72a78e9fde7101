"""How far pre-activations move when the input does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from biasmatters.affine.recording import Options, Recording, record

Net = Callable[[Tensor], Tensor]


def recorded(net: Net, x: Tensor, target: int) -> Recording:
    return record(net, (x,), target, Options())


def largest_move(before: Recording, after: Recording) -> Tensor:
    """``(N,)`` the most that any input of an operation with boundaries moves, in every sample."""
    samples = before.samples
    most = torch.zeros(samples, dtype=torch.float64)
    for old, new in zip(before.steps, after.steps, strict=True):
        assert old.label == new.label
        if old.form.gap is None:
            continue
        calls = zip(old.node.call.inputs, new.node.call.inputs, strict=True)
        for a, b in calls:
            most = torch.maximum(most, (b - a).detach().abs().reshape(samples, -1).amax(1))
    return most


def step_to(net: Net, x: Tensor, target: int, reach: Tensor) -> Tensor:
    """A random step for which the largest move of a pre-activation is ``reach (N,)``.

    Within a linear piece moves grow in proportion, so one that is too long is shortened until it
    is shorter than the reach, and then scaled up to it.
    """
    before = recorded(net, x, target)
    step = torch.randn_like(x) * reach.clamp_max(1).view(-1, *(1,) * (x.ndim - 1))
    for _ in range(40):
        move = largest_move(before, recorded(net, x + step, target))
        too_long = (move >= reach) & (move > 0)
        if not bool(too_long.any()):
            break
        factor = torch.where(too_long, reach / move / 2, 1.0)
        step = step * factor.view(-1, *(1,) * (x.ndim - 1))
    factor = torch.where(move > 0, reach / move, 1.0)
    return step * factor.view(-1, *(1,) * (x.ndim - 1))
