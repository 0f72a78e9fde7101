"""Does a map point at the object? Scores against masks that say where it is."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count, warn_constant
from biasmatters.metrics.functional._maps import figure_type, pixel_values
from biasmatters.metrics.functional.ranking import Order, pixel_rank

Sign = Literal["positive", "absolute"]


def pointing_game(
    maps: Tensor,
    masks: Tensor,
    *,
    tolerance: float = 0.0,
    order: Order = "signed",
    seed: int = 0,
) -> Tensor:
    """Whether the most salient pixel lies on the object.

    1 if min over the mask's pixels of |p - argmax| <= tolerance (Euclidean), else 0. High is
    better.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        masks: ``(N, H, W)`` bool, True on the object.
        tolerance: Distance in pixels at which a point beside the object still hits. The original
            has 15 at its own sizes; TorchRay's test is strict, which here is 14.97.
        order: Whether the most salient pixel is that of the largest (``signed``), the largest
            ``absolute`` or the least (``negative``) value.
        seed: Of the tie-break, and so of the whole answer for a constant map (which warns).

    Returns:
        ``(N,)`` of 0 and 1.

    Raises:
        MetricInputError: For shapes that disagree, NaN, an empty mask or a negative tolerance.

    Source:
        Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Top-Down Neural Attention by Excitation
        Backprop, IJCV 2018 (recalled); TorchRay's ``pointing_game.py`` (read).

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 9.0], [1.0, 2.0]]])
        >>> pointing_game(maps, torch.tensor([[[False, True], [False, False]]]))
        tensor([1.])
        >>> corner = torch.tensor([[[False, False], [True, False]]])
        >>> pointing_game(maps, corner), pointing_game(maps, corner, tolerance=1.5)
        (tensor([0.]), tensor([1.]))
    """
    rank, inside = _ranked(maps, masks, order, seed)
    if not tolerance >= 0:
        raise MetricInputError(f"tolerance={tolerance} is not a distance; give 0 or more pixels.")
    height, width = masks.shape[1:]
    place = rank.argmin(1).view(-1, 1)
    pixel = torch.arange(height * width, device=place.device)
    square = (pixel // width - place // width) ** 2 + (pixel % width - place % width) ** 2
    return (inside & (square <= tolerance**2)).any(1).to(figure_type(maps))


def mass_in_mask(maps: Tensor, masks: Tensor, *, sign: Sign = "positive") -> Tensor:
    """The share of a map's mass that lies on the object, its relevance mass accuracy.

    sum over the mask of m / sum over all pixels of m, with m = max(a, 0) or abs(a). High is
    better; the mask's share of the picture is what a constant positive map gets. A map without
    mass (all zero, or without a positive value) has put nothing on the object and scores 0.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        masks: ``(N, H, W)`` bool, True on the object.
        sign: What counts as mass: the ``positive`` part or the ``absolute`` value.

    Returns:
        ``(N,)`` between 0 and 1.

    Raises:
        MetricInputError: For shapes that disagree, NaN, an empty mask or an unknown sign.

    Source:
        Arras, Osman, Samek: CLEVR-XAI, Information Fusion 2022; ``eval/util.py`` of the authors'
        code (read) takes absolute values of maps whose channels were pooled in several ways.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[3.0, 1.0], [-4.0, 0.0]]])
        >>> masks = torch.tensor([[[True, False], [False, False]]])
        >>> mass_in_mask(maps, masks), mass_in_mask(maps, masks, sign="absolute")
        (tensor([0.7500]), tensor([0.3750]))
    """
    values, inside = _values(maps, masks)
    if sign not in get_args(Sign):
        raise MetricInputError(f"sign={sign!r} is unknown; choose positive or absolute.")
    mass = values.clamp(min=0) if sign == "positive" else values.abs()
    # Divided first, so that the sum of huge values does not overflow.
    top = mass.amax(1, keepdim=True)
    mass = mass / torch.where(top > 0, top, 1)
    total = mass.sum(1)
    share = (mass * inside).sum(1) / torch.where(total > 0, total, 1)
    return share.clamp(max=1).to(figure_type(maps))


def relevance_rank(
    maps: Tensor, masks: Tensor, *, order: Order = "signed", seed: int = 0
) -> Tensor:
    """The share of the K most salient pixels that lie on the object of K pixels.

    |top_K and mask| / K, with K = |mask|: relevance rank accuracy. High is better; a random map
    gets the mask's share of the picture on average.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        masks: ``(N, H, W)`` bool, True on the object.
        order: ``signed``, ``absolute`` or ``negative``.
        seed: Of the tie-break, and so of the whole order of a constant map (which warns).

    Returns:
        ``(N,)`` between 0 and 1.

    Raises:
        MetricInputError: For shapes that disagree, NaN or an empty mask.

    Source:
        Arras, Osman, Samek: CLEVR-XAI, Information Fusion 2022 (recalled).

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[3.0, 1.0], [2.0, 0.0]]])
        >>> relevance_rank(maps, torch.tensor([[[True, True], [False, False]]]))
        tensor([0.5000])
    """
    rank, inside = _ranked(maps, masks, order, seed)
    size = inside.sum(1)
    hits = (inside & (rank < size.unsqueeze(1))).sum(1)
    return (hits.double() / size).to(figure_type(maps))


def top_k_iou(
    maps: Tensor,
    masks: Tensor,
    *,
    k: int | None = None,
    order: Order = "signed",
    seed: int = 0,
) -> Tensor:
    """Intersection over union of the k most salient pixels and the object.

    |top_k and mask| / |top_k or mask|. High is better. With k = |mask| it is r / (2 - r) of
    :func:`relevance_rank` r; with another k it cannot reach 1.

    Args:
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        masks: ``(N, H, W)`` bool, True on the object.
        k: How many pixels, 1..H*W; None is the size of each mask.
        order: ``signed``, ``absolute`` or ``negative``.
        seed: Of the tie-break, and so of the whole order of a constant map (which warns).

    Returns:
        ``(N,)`` between 0 and 1.

    Raises:
        MetricInputError: For shapes that disagree, NaN, an empty mask or an impossible k.

    Source:
        Theiner, Mueller-Budack, Ewerth: Interpretable Semantic Photo Geolocation, WACV 2022, has
        the intersection over k (recalled; Quantus' TopKIntersection, read); the union is ours.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[3.0, 1.0], [2.0, 0.0]]])
        >>> masks = torch.tensor([[[True, True], [False, False]]])
        >>> top_k_iou(maps, masks), top_k_iou(maps, masks, k=3)
        (tensor([0.3333]), tensor([0.6667]))
    """
    rank, inside = _ranked(maps, masks, order, seed)
    if k is not None:
        check_count("k", k, 1, rank.shape[1])
    size = inside.sum(1, keepdim=True) if k is None else torch.tensor(k, device=rank.device)
    top = rank < size
    union = (inside | top).sum(1)
    return ((inside & top).sum(1).double() / union).to(figure_type(maps))


def _values(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and masks, both ``(N, P)``, on the maps' device."""
    values = pixel_values(maps)
    shape = (len(maps), *maps.shape[-2:])
    if tuple(masks.shape) != shape or masks.dtype != torch.bool:
        raise MetricInputError(
            f"masks have the shape {tuple(masks.shape)} and the dtype {masks.dtype}, expected "
            f"{shape} and bool: compare them with a threshold, or drop the channel axis."
        )
    inside = masks.to(values.device).flatten(1)
    empty = (~inside.any(1)).nonzero().flatten().tolist()
    if empty:
        raise MetricInputError(
            f"{len(empty)} of {len(masks)} masks are empty (first: mask {empty[0]}); leave out "
            "pictures without an object."
        )
    return values, inside


def _ranked(maps: Tensor, masks: Tensor, order: Order, seed: int) -> tuple[Tensor, Tensor]:
    """Ranks from the most salient pixel (0) on, and masks, both ``(N, P)``."""
    values, inside = _values(maps, masks)
    warn_constant(values)
    return pixel_rank(values, order, seed), inside
