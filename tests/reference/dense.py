"""Bias back-propagation written a second time, with dense matrices, numpy and loops.

A network is a list of blocks; every block is an affine map followed by an activation. Matrices and
biases are read off through Jacobians, alphas row by row. Nothing of `biasmatters` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Block:
    """``x -> act(lin(x))``; shapes without the batch axis are kept by the functions."""

    lin: Callable[[Tensor], Tensor]
    act: Callable[[Tensor], Tensor] = lambda z: z


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    out = function(x)
    jac = torch.autograd.functional.jacobian(function, x)
    return jac.reshape(out.numel(), x.numel()).numpy()


def alpha_row(rule: str, e: np.ndarray, support: np.ndarray, tau: float, t: float) -> np.ndarray:
    """One unit's split; ``support`` tells which inputs it is wired to.

    A unit without contributions shares evenly over its wires, one without wires over all inputs.
    """
    here = e != 0
    if not here.any():
        return support / support.sum() if support.any() else np.full_like(e, 1 / e.size)
    score = {
        "softmax_neg_abs": -np.abs(e) / t,
        "softmax_abs": np.abs(e) / t,
        "softmax_signed": e * np.sign(tau) / t,
    }
    if rule == "uniform":
        weight = here.astype(float)
    elif rule == "proportional":
        weight = np.abs(e)
    else:
        shifted = score[rule] - score[rule][here].max()
        weight = np.where(here, np.exp(np.minimum(shifted, 0)), 0.0)
    return weight / weight.sum()


@dataclass(frozen=True)
class LocalBlock:
    """A block around one input: matrix, slope, ``slope * bias + shift``, and its inputs."""

    matrix: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    inputs: np.ndarray


def localise(blocks: list[Block], x: Tensor) -> list[LocalBlock]:
    """Read every block off at one sample x (a batch of one)."""
    now, found = x, []
    for block in blocks:
        z = block.lin(now).detach()
        matrix = jacobian(block.lin, now)
        bias = z.flatten().numpy() - matrix @ now.flatten().numpy()
        slope = np.diag(jacobian(block.act, z))
        value = block.act(z).detach()
        shift = value.flatten().numpy() - slope * z.flatten().numpy()
        found.append(LocalBlock(matrix, slope, slope * bias + shift, now.flatten().numpy()))
        now = value
    return found


def dense_bbp(local: list[LocalBlock], k: int, rule: str, t: float = 1.0) -> np.ndarray:
    """The bias map of logit k, flattened."""
    gradient = np.zeros(local[-1].matrix.shape[0])
    gradient[k] = 1
    beta = np.zeros_like(gradient)
    for block in reversed(local):
        tau = beta + gradient * block.shift
        effective = block.slope[:, None] * block.matrix
        contributions = effective * block.inputs[None]
        beta = np.zeros(block.matrix.shape[1])
        for p, amount in enumerate(tau):
            if amount != 0:
                support = (block.matrix[p] != 0).astype(float)
                beta += amount * alpha_row(rule, contributions[p], support, amount, t)
        gradient = effective.T @ gradient
    return beta
