"""Maps as numbers, for metrics that have no ranking to make of them."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_finite_maps


def map_values(maps: Tensor, x: Tensor | None = None) -> Tensor:
    """Return maps with a channel axis, finite and in double precision.

    Args:
        maps: ``(N, H, W)`` or ``(N, C, H, W)``, in any unit.
        x: ``(N, C, H, W)``, the pictures that the maps must fit; None where there are none.

    Returns:
        ``(N, c, H, W)`` float64, c = 1 for maps without channels, on x's device.

    Raises:
        MetricInputError: If the shape is another, or a value is NaN, infinite or complex.
    """
    shape = tuple(maps.shape)
    if maps.ndim not in (3, 4) or 0 in shape:
        raise MetricInputError(f"maps have the shape {shape}; give (N, H, W) or (N, C, H, W).")
    if maps.is_complex():
        raise MetricInputError("maps are complex; give their modulus or their real part instead.")
    values = (maps if maps.ndim == 4 else maps.unsqueeze(1)).detach()
    if x is not None:
        n, channels, height, width = x.shape
        if tuple(values.shape) not in {(n, c, height, width) for c in (1, channels)}:
            raise MetricInputError(
                f"maps have the shape {shape}, but pictures of shape {tuple(x.shape)} need "
                f"{(n, height, width)} or {tuple(x.shape)}."
            )
        values = values.to(x.device)
    check_finite_maps(values.flatten(1))
    return values.double()


def pixel_values(maps: Tensor, x: Tensor | None = None) -> Tensor:
    """``(N, H*W)`` float64: :func:`map_values`, summed over channels."""
    return map_values(maps, x).sum(1).flatten(1)


def figure_type(maps: Tensor) -> torch.dtype:
    """The type of figures computed in double precision from maps: theirs, if it has a point."""
    return maps.dtype if maps.is_floating_point() else torch.get_default_dtype()
