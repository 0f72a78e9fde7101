"""Student's t: tails, quantiles, and the normal score of the same tail."""

from __future__ import annotations

import torch
from scipy.special import (  # type: ignore[import-untyped]
    ndtr,
    ndtri,
    stdtr,
    stdtrit,
)
from torch import Tensor


def two_sided(t: Tensor, df: int) -> Tensor:
    """P(|T| >= |t|) for Student's T with ``df`` degrees of freedom.

    Args:
        t: Any shape, float64; infinity has the probability 0.
        df: Degrees of freedom, at least 1.

    Example:
        >>> import torch
        >>> p = two_sided(torch.tensor([0.0, 2.2622, torch.inf]).double(), 9)
        >>> [round(x, 4) for x in p.tolist()]
        [1.0, 0.05, 0.0]
    """
    return torch.as_tensor(2 * stdtr(df, -t.abs().numpy()))


def normal_score(t: Tensor, df: int) -> Tensor:
    """The z >= 0 that is as improbable for a normal variable as ``|t|`` is for Student's.

    Args:
        t: Any shape, float64; infinity stays infinity.
        df: Degrees of freedom, at least 1.

    Example:
        >>> import torch
        >>> round(float(normal_score(torch.tensor(2.2622).double(), 9)), 2)
        1.96
    """
    return torch.as_tensor(-ndtri(stdtr(df, -t.abs().numpy())))


def from_normal_score(z: float, df: int) -> float:
    """The t that :func:`normal_score` turns into z.

    Example:
        >>> round(from_normal_score(1.96, 9), 2)
        2.26
    """
    return upper_quantile(float(ndtr(-z)), df)


def upper_quantile(tail: float, df: int) -> float:
    """The t that Student's T exceeds with the probability ``tail``.

    Example:
        >>> round(upper_quantile(0.025, 9), 3)
        2.262
    """
    return float(-stdtrit(df, tail))
