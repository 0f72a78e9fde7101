"""Superpixels of a picture, by scikit-image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biasmatters.baselines.errors import MethodError


def superpixels(image: Tensor, count: int) -> Tensor:
    """SLIC segments of a picture, or a grid where it finds but one, as in an even picture.

    Source: Achanta et al., PAMI 2012; implementation: scikit-image.

    Args:
        image: ``(C, H, W)``; its range is stretched to [0, 1].
        count: About how many.

    Returns:
        ``(H, W)`` segment numbers from 0, on the image's device.

    Raises:
        MethodError: For anything but a picture.
    """
    if image.ndim != 3:
        raise MethodError(
            f"Superpixels need pictures (N, C, H, W); each sample here is {tuple(image.shape)}."
        )
    from skimage.segmentation import slic

    plain = image.detach().to("cpu", torch.float64)
    span = float(plain.max() - plain.min())
    plain = (plain - plain.min()) / (span or 1.0)
    found = slic(
        plain.permute(1, 2, 0).numpy(),
        n_segments=count,
        compactness=0.1 if len(plain) != 3 else 10.0,
        start_label=0,
        channel_axis=-1,
        convert2lab=len(plain) == 3,
    )
    numbers, labels = torch.unique(torch.from_numpy(found), return_inverse=True)
    labels = labels if len(numbers) > 1 else _grid(plain.shape[1:], count)
    return labels.to(image.device)


def _grid(space: torch.Size, count: int) -> Tensor:
    """``(H, W)`` numbers of about equal rectangles."""
    across = max(1, round(math.sqrt(count * space[1] / space[0])))
    down = max(1, round(count / across))
    rows = torch.arange(space[0]) * down // space[0]
    return rows[:, None] * across + torch.arange(space[1]) * across // space[1]
