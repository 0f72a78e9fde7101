"""``exp(-z)`` and ``exp(z)`` of a product ``z = R w x`` as a short sum of separate factors.

    K(w, x) = exp(-R w x)        or        exp(R w x - R),        0 <= w, x <= 1
    K(w, x) ~ g(x) + sum_{k=1..r} phi_k(w) psi_k(x)

A softmax rule over the inputs of a convolution then needs r convolutions in place of one
exponential for each connection: those of the features ``psi_k(x)`` with the kernels ``phi_k(w)``.
The term without w only counts connections and costs next to nothing, so it is taken out first.

All functions are Chebyshev series. K is interpolated at Chebyshev nodes in both variables, and
the coefficient matrix without its row of w-degree 0, which is g, is cut off by its singular values:
the shortest sum there is in that norm. The terms are of the size of their singular values, so none
cancel, which the powers of z do by ``e^R``. For exp(-z) the rank grows with the logarithm of R.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

STEPS = 4
SMALLEST = 2.0**-6


@dataclass(frozen=True)
class Expansion:
    """Chebyshev coefficients over [0, 1], float64.

    Attributes:
        reach: R.
        free: ``(n,)`` of g.
        weights: ``(r, m)`` of the phi.
        inputs: ``(r, n)`` of the psi.
        bound: What ``|K - its approximation|`` does not exceed anywhere on the square.
    """

    reach: float
    free: Tensor
    weights: Tensor
    inputs: Tensor
    bound: float

    @property
    def rank(self) -> int:
        """Number of products r."""
        return len(self.weights)


def round_up(reach: float) -> float:
    """The next R of a geometric grid, so that layers share expansions."""
    if reach <= SMALLEST:
        return SMALLEST
    return float(2.0 ** (math.ceil(STEPS * math.log2(reach) - 1e-9) / STEPS))


@lru_cache(maxsize=256)
def expand(sign: int, reach: float, tolerance: float) -> Expansion:
    """The shortest expansion within a tolerance.

    The bound is the sum of two proven parts. A function analytic within the Bernstein ellipse of
    radius rho, there below M, is interpolated at n Chebyshev nodes within
    ``4 M rho^(1-n) / (rho - 1)`` (Trefethen, *Approximation Theory and Approximation Practice*,
    2013, theorem 8.2); for two variables that times ``2 + 2/pi log n``. What is cut off the
    coefficient matrix is bounded by the sum of its absolute entries, since ``|T_j| <= 1``.

    Args:
        sign: -1 for ``exp(-R w x)``, +1 for ``exp(R w x - R)``.
        reach: R > 0.
        tolerance: Of the largest absolute error.

    Raises:
        ValueError: If float64 cannot reach the tolerance.
    """
    with torch.device("cpu"):  # whatever the default device, which may lack float64
        return _expand(sign, reach, tolerance)


def _expand(sign: int, reach: float, tolerance: float) -> Expansion:
    nodes = _nodes_for(reach, tolerance / 2)
    inherent = _interpolation_bound(nodes, reach)
    matrix = _coefficients(sign, reach, nodes)
    free, rest = matrix[0], matrix.clone()
    rest[0] = 0
    u, s, v = torch.linalg.svd(rest)
    budget = tolerance - inherent
    for rank in range(1, nodes + 1):
        root = s[:rank].sqrt()
        weights, inputs = (u[:, :rank] * root).T, v[:rank] * root[:, None]
        cut = float((rest - weights.T @ inputs).abs().sum())
        if cut <= budget / 2:
            return _trimmed(reach, (free, weights, inputs), cut + inherent, tolerance)
    raise ValueError(f"tolerance {tolerance:g} cannot be met at reach {reach:g} in float64")


def _trimmed(
    reach: float, parts: tuple[Tensor, Tensor, Tensor], bound: float, tolerance: float
) -> Expansion:
    """Leave out the highest degrees while the bound allows it."""
    free, weights, inputs = parts
    spare = (tolerance - bound) / 3
    tail = free.abs().flip(0).cumsum(0).flip(0)
    short = _degree(tail, spare)
    bound += float(tail[short]) if short < len(tail) else 0.0
    whole = weights.T @ inputs
    rows = _degree(whole.abs().sum(1).flip(0).cumsum(0).flip(0), spare)
    columns = _degree(whole.abs().sum(0).flip(0).cumsum(0).flip(0), spare)
    kept = torch.zeros_like(whole)
    kept[:rows, :columns] = whole[:rows, :columns]
    bound += float((whole - kept).abs().sum())
    return Expansion(reach, free[:short], weights[:, :rows], inputs[:, :columns], bound)


def _degree(tail: Tensor, spare: float) -> int:
    """How many coefficients to keep so that the sum of the others is at most ``spare``."""
    return max(int((tail > spare).sum()), 1)


def _interpolation_bound(nodes: int, reach: float) -> float:
    """Of K in both variables; K along one of them is ``exp(-c (1 + t))`` with c <= R / 2."""
    rho = 1 + torch.logspace(-3, 3, 400, dtype=torch.float64)
    log_size = reach / 2 * ((rho + 1 / rho) / 2 - 1)
    log_error = math.log(4) + log_size - (nodes - 1) * rho.log() - (rho - 1).log()
    return float(log_error.min().exp()) * (2 + 2 / math.pi * math.log(nodes))


def _nodes_for(reach: float, tolerance: float) -> int:
    for nodes in range(4, 2000):
        if _interpolation_bound(nodes, reach) <= tolerance / 2:
            return nodes
    raise ValueError(f"reach {reach:g} is too large to be expanded")


def _coefficients(sign: int, reach: float, nodes: int) -> Tensor:
    """``a[i, j]`` with ``K(w, x) ~ sum a[i, j] T_i(2w - 1) T_j(2x - 1)``."""
    angle = math.pi * (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
    at = (1 + angle.cos()) / 2
    product = at[:, None] * at
    values = (-reach * product).exp() if sign < 0 else (reach * (product - 1)).exp()
    cosines = (torch.arange(nodes, dtype=torch.float64)[:, None] * angle).cos() * 2 / nodes
    cosines[0] /= 2
    return cosines @ values @ cosines.T
