"""Pixel flipping as torchmetrics."""

from __future__ import annotations

from functools import partial

from biasmatters.metrics.functional.pixel_flipping import morf_lerf_gap, pixel_flipping
from biasmatters.metrics.gathering import PerImage, PerImageCurve


class PixelFlippingMorf(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.pixel_flipping` curves, MoRF.

    The most relevant features go first; low is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function but ``first``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = PixelFlippingMorf(model, features_per_step=4)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 5]), True)
    """

    function = staticmethod(partial(pixel_flipping, first="most"))
    higher_is_better: bool = False


class PixelFlippingLerf(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.pixel_flipping` curves, LeRF.

    The least relevant features go first; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function but ``first``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> x, maps = torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4)
        >>> lerf, morf = PixelFlippingLerf(model), PixelFlippingMorf(model)
        >>> lerf.update(x, maps)
        >>> morf.update(x, -maps)
        >>> torch.allclose(lerf.compute(), morf.compute())
        True
    """

    function = staticmethod(partial(pixel_flipping, first="least"))
    higher_is_better: bool = True


class MorfLerfGap(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.morf_lerf_gap`; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = MorfLerfGap(model)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.per_image().shape, bool(-1 <= metric.compute() <= 1)
        (torch.Size([5]), True)
    """

    function = staticmethod(morf_lerf_gap)
    higher_is_better: bool = True
