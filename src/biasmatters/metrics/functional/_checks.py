"""What a picture and a map must look like before they are scored."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from biasmatters.types import BiasmattersError


class MetricInputError(BiasmattersError, ValueError):
    """A metric was given something that it has no defined value for."""


class ConstantMapWarning(UserWarning):
    """A map ranks no pixel above another, so it is scored in the seeded random order."""


def check_images(x: Tensor) -> None:
    """Refuse anything but a non-empty ``(N, C, H, W)`` batch of finite floating-point pictures.

    Raises:
        MetricInputError: If x has another shape, another dtype, or a value that is not finite.
    """
    if x.ndim != 4 or 0 in x.shape:
        raise MetricInputError(
            f"x has the shape {tuple(x.shape)}; pixels are ranked on non-empty (N, C, H, W) "
            "pictures: reshape x, and wrap the model if it wants another shape."
        )
    if not x.is_floating_point():
        raise MetricInputError(f"x has the dtype {x.dtype}; convert it to floating point.")
    if not bool(x.isfinite().all()):
        raise MetricInputError("x holds NaN or infinite pixels; repair the input first.")


def pixel_scores(maps: Tensor, x: Tensor) -> Tensor:
    """Reduce maps to one finite score per pixel, the sum over channels.

    Args:
        maps: ``(N, H, W)``, ``(N, 1, H, W)`` or shaped like x, in any unit.
        x: ``(N, C, H, W)``, the pictures that the maps explain.

    Returns:
        ``(N, H*W)`` scores on x's device.

    Raises:
        MetricInputError: If the shapes disagree or a score is NaN or infinite.
    """
    n, channels, height, width = x.shape
    allowed = {(n, height, width), (n, 1, height, width), (n, channels, height, width)}
    if tuple(maps.shape) not in allowed:
        raise MetricInputError(
            f"maps have the shape {tuple(maps.shape)}, but pictures of shape {tuple(x.shape)} need "
            f"one of {sorted(allowed, key=len)}."
        )
    if maps.is_complex():
        raise MetricInputError("maps are complex; rank their modulus or their real part instead.")
    scores = channelled(maps, x).sum(1).flatten(1)
    check_finite_maps(scores)
    warn_constant(scores)
    return scores


def channelled(maps: Tensor, x: Tensor) -> Tensor:
    """Maps ``(n, H, W)`` or ``(n, c, H, W)`` as ``(n, c, H, W)`` numbers on x's device."""
    values = maps.detach().to(x.device)
    values = values if values.is_floating_point() else values.to(x.dtype)
    return values if values.ndim == 4 else values.unsqueeze(1)


def check_finite_maps(rows: Tensor) -> None:
    """Refuse ``(N, P)`` values of maps that are not finite.

    Raises:
        MetricInputError: If there are any.
    """
    bad = (~rows.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        raise MetricInputError(
            f"{len(bad)} of {len(rows)} maps hold NaN or infinite values (first: map {bad[0]}); "
            "such a map has no meaning. Look for a division by zero in the method that made it."
        )


def warn_constant(scores: Tensor) -> None:
    """Warn about ``(N, P)`` rows whose entries are all the same."""
    constant = int((scores == scores[:, :1]).all(1).sum())
    if constant and scores.shape[1] > 1:
        warnings.warn(
            f"{constant} of {len(scores)} maps are constant: they are scored in the seeded random "
            "order, which says nothing about the method.",
            ConstantMapWarning,
            stacklevel=4,
        )


def check_target(target: int | Tensor, n: int, classes: int) -> Tensor:
    """Return the target as ``(n,)`` class indices.

    Raises:
        MetricInputError: If it has another shape or names a class the output does not have.
    """
    index = torch.as_tensor(target)
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise MetricInputError(f"target has the dtype {index.dtype}; give integer class indices.")
    if index.ndim == 0:
        index = index.expand(n)
    if tuple(index.shape) != (n,):
        raise MetricInputError(f"target has the shape {tuple(index.shape)}, expected ({n},).")
    if bool(((index < 0) | (index >= classes)).any()):
        raise MetricInputError(f"target names a class outside 0..{classes - 1}.")
    return index.to(torch.int64)


def check_count(name: str, value: int, low: int, high: int | None = None) -> None:
    """Refuse a count outside ``[low, high]``.

    Raises:
        MetricInputError: If it is.
    """
    if value < low or (high is not None and value > high):
        limit = f"at least {low}" if high is None else f"between {low} and {high}"
        raise MetricInputError(f"{name}={value} is not possible here; it must be {limit}.")
