"""Remove and retrain: the pictures that are left when the most salient pixels are gone."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_images, pixel_scores
from biasmatters.metrics.functional.ranking import Order, pixel_rank


def without_top(
    x: Tensor,
    maps: Tensor,
    fraction: float,
    fill: Tensor,
    *,
    order: Order = "signed",
    seed: int = 0,
) -> Tensor:
    """Pictures with their most salient pixels replaced, to train and to test a network on.

    The floor(fraction P) most salient of P pixels, all channels together, take the values of
    ``fill``. In ROAR the fill is the mean of each channel over the training set, and a network
    trained anew on such pictures loses the more accuracy, the better the maps found what matters.

    Args:
        x: ``(N, C, H, W)`` pictures in the network's input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels.
        fraction: Share of the pixels, between 0 and 1.
        fill: ``(C,)`` values in that input space.
        order: ``signed``, ``absolute`` or ``negative``.
        seed: Of the tie-break.

    Returns:
        Like x.

    Raises:
        MetricInputError: For shapes that disagree, NaN, or a fraction outside [0, 1].

    Source:
        Hooker, Erhan, Kindermans, Kim: A Benchmark for Interpretability Methods in Deep Neural
        Networks, NeurIPS 2019.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> without_top(x, x[:, 0], 0.5, torch.tensor([9.0])).flatten().tolist()
        [1.0, 2.0, 9.0, 9.0]
    """
    check_images(x)
    if not 0 <= fraction <= 1:
        raise MetricInputError(f"fraction={fraction} must lie between 0 and 1.")
    if tuple(fill.shape) != (x.shape[1],):
        raise MetricInputError(
            f"fill has the shape {tuple(fill.shape)}; give one value a channel, ({x.shape[1]},)."
        )
    height, width = x.shape[-2:]
    rank = pixel_rank(pixel_scores(maps, x), order, seed).view(-1, 1, height, width)
    gone = rank < int(fraction * height * width)
    return torch.where(gone, fill.to(x).view(1, -1, 1, 1), x)
