"""Superpixels of pictures, by scikit-image."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import check_count, check_images

# Colours are compared in Lab, whose range is 100; anything else in [0, 1].
COMPACTNESS = {3: 10.0}
PLAIN_COMPACTNESS = 0.1


def superpixels(x: Tensor, segments: int = 50, *, compactness: float | None = None) -> Tensor:
    """Cut every picture into about equal pieces of one colour by SLIC.

    SLIC is k-means of the pixels by colour and place, from centres on a grid, so nothing is random
    and a picture's pieces do not depend on its batch. scikit-image stretches each picture to
    [0, 1] first: the normalisation of the pictures does not matter if it is one for all channels.
    It finds from half to 1.3 times as many pieces as asked for in pictures of shapes, and fewer in
    noise, whose crumbs it joins; a picture left in one piece is cut into a grid.

    Args:
        x: ``(N, C, H, W)`` pictures; three channels are taken for red, green and blue and compared
            in Lab, others as they are.
        segments: About how many pieces, from 1 to H W.
        compactness: Weight of place against colour; None is 10 for three channels, else 0.1.

    Returns:
        ``(N, H, W)`` int64, the number of each pixel's piece: 0 to the number of pieces - 1.

    Raises:
        MetricInputError: For anything but pictures, or a number of pieces that cannot be.

    Source:
        Achanta et al.: SLIC Superpixels Compared to State-of-the-Art Superpixel Methods, PAMI
        2012; ``skimage.segmentation.slic``.

    Example:
        >>> import torch
        >>> x = torch.zeros(1, 1, 8, 8)
        >>> x[..., 5:] = 1
        >>> superpixels(x, 4)[0, ::7]
        tensor([[0, 0, 0, 0, 0, 1, 1, 1],
                [2, 2, 2, 2, 2, 3, 3, 3]])
    """
    check_images(x)
    height, width = x.shape[-2:]
    check_count("segments", segments, 1, height * width)
    from skimage.segmentation import slic

    channels = x.shape[1]
    usual = COMPACTNESS.get(channels, PLAIN_COMPACTNESS)
    found = [
        slic(
            picture,
            n_segments=segments,
            compactness=usual if compactness is None else compactness,
            start_label=0,
            channel_axis=-1,
            convert2lab=channels == 3,
        )
        for picture in x.detach().to("cpu", torch.float64).movedim(1, -1).numpy()
    ]
    pieces = consecutive(torch.from_numpy(np.stack(found)))
    pieces[pieces.flatten(1).amax(1) == 0] = _grid(height, width, segments)
    return pieces.to(x.device)


def consecutive(pieces: Tensor) -> Tensor:
    """Number the pieces of each picture ``(N, H, W)`` from 0 without gaps, in the order given."""
    ordered, places = pieces.flatten(1).long().sort(1)
    steps = torch.zeros_like(ordered)
    steps[:, 1:] = (ordered.diff(dim=1) > 0).cumsum(1)
    return torch.empty_like(steps).scatter_(1, places, steps).view(pieces.shape)


def _grid(height: int, width: int, segments: int) -> Tensor:
    """``(H, W)`` numbers of about equal rectangles."""
    across = min(width, max(1, round(math.sqrt(segments * width / height))))
    down = min(height, max(1, round(segments / across)))
    rows, columns = torch.arange(height) * down // height, torch.arange(width) * across // width
    return rows[:, None] * across + columns
