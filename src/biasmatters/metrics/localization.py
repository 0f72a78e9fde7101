"""Scores against masks as torchmetrics."""

from __future__ import annotations

from biasmatters.metrics.functional.localization import (
    mass_in_mask,
    pointing_game,
    relevance_rank,
    top_k_iou,
)
from biasmatters.metrics.gathering import PerImage


class PointingGame(PerImage):
    """Share of hits of :func:`~biasmatters.metrics.functional.pointing_game`; high is better.

    Args:
        settings: Keywords of the function; `update` takes ``maps, masks``.

    Example:
        >>> import torch
        >>> metric = PointingGame()
        >>> metric.update(torch.eye(2).view(1, 2, 2), torch.eye(2).view(1, 2, 2).bool())
        >>> metric.compute()
        tensor(1.)
    """

    function = staticmethod(pointing_game)
    higher_is_better: bool = True


class MassInMask(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.mass_in_mask`; high is better.

    Args:
        settings: Keywords of the function; `update` takes ``maps, masks``.

    Example:
        >>> import torch
        >>> metric = MassInMask()
        >>> metric.update(torch.ones(1, 2, 2), torch.eye(2).view(1, 2, 2).bool())
        >>> metric.compute()
        tensor(0.5000)
    """

    function = staticmethod(mass_in_mask)
    higher_is_better: bool = True


class RelevanceRank(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.relevance_rank`; high is better.

    Args:
        settings: Keywords of the function; `update` takes ``maps, masks``.

    Example:
        >>> import torch
        >>> metric = RelevanceRank()
        >>> metric.update(torch.eye(2).view(1, 2, 2), torch.eye(2).view(1, 2, 2).bool())
        >>> metric.compute()
        tensor(1.)
    """

    function = staticmethod(relevance_rank)
    higher_is_better: bool = True


class TopKIoU(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.top_k_iou`; high is better.

    Args:
        settings: Keywords of the function; `update` takes ``maps, masks``.

    Example:
        >>> import torch
        >>> metric = TopKIoU(k=4)
        >>> metric.update(torch.eye(2).view(1, 2, 2), torch.eye(2).view(1, 2, 2).bool())
        >>> metric.compute()
        tensor(0.5000)
    """

    function = staticmethod(top_k_iou)
    higher_is_better: bool = True
