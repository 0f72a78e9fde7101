"""From a map over channels to one number for each place."""

from __future__ import annotations

from torch import Tensor

from biasmatters.affine.errors import InputError
from biasmatters.types import REDUCTIONS, Reduction


def reduce_channels(maps: Tensor, reduction: Reduction = "sum") -> Tensor:
    """One map for each picture.

    Args:
        maps: ``(N, C, *space)``.
        reduction: ``sum`` keeps signs and totals; ``abs_sum``, ``abs_max`` and ``norm`` (Euclidean)
            give magnitudes.

    Returns:
        ``(N, *space)``.

    Raises:
        InputError: For an unknown reduction.

    Example:
        >>> import torch
        >>> reduce_channels(torch.tensor([[[3.0], [-4.0]]]), "norm")
        tensor([[5.]])
    """
    if reduction == "sum":
        return maps.sum(1)
    if reduction == "abs_sum":
        return maps.abs().sum(1)
    if reduction == "abs_max":
        return maps.abs().amax(1)
    if reduction == "norm":
        return maps.square().sum(1).sqrt()
    raise InputError(f"reduction={reduction!r} is unknown; choose from {', '.join(REDUCTIONS)}.")
