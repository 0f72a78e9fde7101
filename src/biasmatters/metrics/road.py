"""ROAD as torchmetrics."""

from __future__ import annotations

from functools import partial
from typing import Any

from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.road import road
from biasmatters.metrics.gathering import PerImageCurve


class _Road(PerImageCurve):
    def __init__(self, *bound: Any, **settings: Any) -> None:
        if "first" in settings:
            raise MetricInputError("first is what tells RoadMoRF and RoadLeRF apart; leave it out.")
        super().__init__(*bound, **settings)


class RoadMoRF(_Road):
    """Mean area under :func:`~biasmatters.metrics.functional.road.road` curves; low is better.

    The most relevant pixels are removed first.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function, ``first`` excepted.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> metric = RoadMoRF(model, fractions=(0.2, 0.4, 0.6))
        >>> metric.update(torch.rand(5, 1, 8, 8), torch.rand(5, 8, 8))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 3]), True)
    """

    function = staticmethod(partial(road, first="most"))
    higher_is_better: bool = False


class RoadLeRF(_Road):
    """Mean area under :func:`~biasmatters.metrics.functional.road.road` curves; high is better.

    The least relevant pixels are removed first.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function, ``first`` excepted.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> metric = RoadLeRF(model, score="accuracy")
        >>> metric.update(torch.rand(5, 1, 8, 8), torch.rand(5, 8, 8))
        >>> metric.curve().scores.shape, set(metric.curve().scores.unique().tolist()) <= {0.0, 1.0}
        (torch.Size([5, 9]), True)
    """

    function = staticmethod(partial(road, first="least"))
    higher_is_better: bool = True
