"""A chain of operations as explicit matrices, and bias back-propagation over it, row by row.

Every operation around one sample is ``out = matrix @ x + intercept`` over flattened values. What
happens to a unit's bias is one of a few kinds; nothing of `biasmatters` is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tests.reference.dense import alpha_row, jacobian

Kind = Literal["rule", "apart", "stay", "slope", "route"]
Function = Callable[[Tensor], Tensor]
Array = np.ndarray


@dataclass(frozen=True)
class Stage:
    """An operation over ``(1, *shape)``, and what it does with bias.

    Attributes:
        function: The operation.
        kind: ``rule`` splits by the rule, scaled by the slopes that follow; ``apart`` splits by the
            rule, unscaled; ``stay`` is ``alpha[p, q] = 1[p = q]``; ``slope`` is that of an
            operation that folds into the mixing before it; ``route`` follows the values.
        affine: Whether the matrix can be read off at unit vectors, else it is the Jacobian.
        groups: Columns, group by group: a unit's bias is shared evenly by the groups, and split by
            the rule within each. None for a single group.
        shared: How many units, the first ones, have groups; None for all.
    """

    function: Function
    kind: Kind = "rule"
    affine: bool = True
    groups: tuple[slice, ...] | None = None
    shared: int | None = None


@dataclass(frozen=True)
class Link:
    """A stage around one sample: ``(P, Q)``, ``(P,)`` and ``(Q,)``."""

    stage: Stage
    matrix: Array
    intercept: Array
    x: Array


@dataclass(frozen=True)
class Manner:
    """How bias is split: the rule, its temperature, folding, and the fallback."""

    rule: str
    temperature: float = 1.0
    fold: bool = True
    fallback: Literal["uniform", "weight", "drop"] = "uniform"


def at_unit_vectors(function: Function, x: Tensor) -> Array:
    """The matrix of an affine function, one column for each unit vector."""
    origin = function(torch.zeros_like(x))
    eye = torch.eye(x.numel(), dtype=x.dtype)
    columns = [(function(e.reshape(x.shape)) - origin).flatten() for e in eye]
    return torch.stack(columns, 1).numpy()


def read(stages: Sequence[Stage], x: Tensor) -> list[Link]:
    """Read every stage off around one sample x, a batch of one."""
    found = []
    for stage in stages:
        now = stage.function(x).detach()
        reader = at_unit_vectors if stage.affine else jacobian
        matrix, flat = reader(stage.function, x), x.flatten().numpy()
        found.append(Link(stage, matrix, now.flatten().numpy() - matrix @ flat, flat))
        x = now
    return found


def folded_scale(links: Sequence[Link], i: int) -> Array:
    """The product of the slopes that follow link i one to one."""
    scale = np.ones(len(links[i].intercept))
    for link in links[i + 1 :]:
        if link.stage.kind != "slope":
            break
        scale = scale * np.diag(link.matrix)
    return scale


def split_row(manner: Manner, row: Array, e: Array, tau: float) -> Array:
    """One unit's bias by the rule, or by the fallback where no contribution is left."""
    if (e != 0).any() or manner.fallback == "uniform":
        support = (row != 0).astype(float)
        return tau * alpha_row(manner.rule, e, support, tau, manner.temperature)
    if manner.fallback == "drop":
        return np.zeros_like(e)
    size = np.abs(row)
    return tau * (size / size.sum() if size.any() else np.full_like(e, 1 / e.size))


def split_mixing(link: Link, tau: Array, scale: Array, manner: Manner) -> Array:
    """Every unit of a mixing operation, group by group."""
    beta = np.zeros_like(link.x)
    effective = scale[:, None] * link.matrix * link.x[None]
    for p, amount in enumerate(tau):
        shared = link.stage.shared is None or p < link.stage.shared
        groups = (shared and link.stage.groups) or (slice(None),)
        share = amount / len(groups)
        for g in groups:
            if share != 0:
                beta[g] += split_row(manner, link.matrix[p, g], effective[p, g], share)
    return beta


def route(link: Link, tau: Array, manner: Manner) -> Array:
    """Bias goes where the value came from; that of constants is spread over all inputs."""
    orphans = tau[~(link.matrix != 0).any(1)].sum()
    kept = 0.0 if manner.fallback == "drop" else orphans / link.x.size
    return link.matrix.T @ tau + kept


def bias_map(links: Sequence[Link], k: int, manner: Manner) -> Array:
    """The bias map of output k over the first link's inputs, flattened."""
    gradient = np.zeros(len(links[-1].intercept))
    gradient[k] = 1
    beta = np.zeros_like(gradient)
    for i in reversed(range(len(links))):
        link, tau = links[i], beta + gradient * links[i].intercept
        if link.stage.kind == "route":
            beta = route(link, tau, manner)
        elif link.stage.kind in ("stay", "slope"):
            beta = tau
        else:
            fold = manner.fold and link.stage.kind == "rule"
            scale = folded_scale(links, i) if fold else np.ones_like(tau)
            beta = split_mixing(link, tau, scale, manner)
        gradient = link.matrix.T @ gradient
    return beta
