"""Bias back-propagation as an ``explain_func`` of Quantus.

`explain` itself needs numpy and torch only; ``pip install 'biasmatters[quantus]'`` brings the
metrics.

Example:
    >>> import warnings
    >>> warnings.simplefilter("ignore")  # Quantus warns as it loads
    >>> import numpy as np, quantus, torch
    >>> from biasmatters.quantus import explain
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    ... ).eval()
    >>> x, y = np.random.default_rng(0).normal(size=(2, 1, 6, 6)), np.array([0, 2])
    >>> explain(net, x, y, rule="uniform").shape
    (2, 1, 6, 6)
    >>> data = {"model": net, "x_batch": x.astype("float32"), "y_batch": y}
    >>> how = {"explain_func": explain, "explain_func_kwargs": {"rule": "uniform"}}
    >>> curves = quantus.PixelFlipping(features_in_step=6, disable_warnings=True)(**data, **how)
    >>> np.shape(curves)
    (2, 6)
    >>> scores = quantus.Sparseness(disable_warnings=True)(**data, **how)
    >>> all(0 < score < 1 for score in scores)
    True
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.affine.walker import Fallback
from biasmatters.attribution.chunks import chunks
from biasmatters.attribution.parts import Part, method_for
from biasmatters.rules import Rule

__all__ = ["explain"]

# What `quantus.evaluate` hands to every function: the name under which it keeps the scores.
_PASSED = {"method"}
_KNOWN = "rule, temperature, fold, fallback, part, sum_channels, internal_batch_size and device"


def explain(
    model: nn.Module,
    inputs: NDArray[Any],
    targets: NDArray[Any],
    device: str | torch.device | None = None,
    *,
    rule: str | Rule = "softmax_neg_abs",
    temperature: float = 1.0,
    fold: bool = True,
    fallback: Fallback = "uniform",
    part: Part = "both",
    sum_channels: bool = False,
    internal_batch_size: int | None = None,
    **passed: Any,
) -> NDArray[Any]:
    """Maps of a batch, in the form of call that Quantus' metrics use.

    The whole output is explained by default, because Quantus refuses maps that are constant, or
    nowhere positive, as a bias map may be. Nothing is kept between two calls.

    Args:
        model: In evaluation mode; it stays where it is and as it is.
        inputs: ``(N, *features)``, taken in the model's own precision.
        targets: ``(N,)`` class of each sample.
        device: For the inputs, where the model has no parameters or buffers to tell by.
        rule: How a unit's bias is split over its inputs: a name or any `biasmatters.Rule`.
        temperature: Of the softmax rules given by name.
        fold: As in `biasmatters.BiasBackprop`.
        fallback: As in `biasmatters.BiasBackprop`.
        part: ``both`` for gradient times input plus the bias map, or ``bias`` for that alone.
        sum_channels: Whether to sum over axis 1, ``(N, 1, *rest)``, as the localisation metrics
            need whose masks have one channel.
        internal_batch_size: Samples explained at a time, None for all.
        passed: ``method``, which Quantus adds and nobody needs here.

    Returns:
        Maps like the inputs, in the model's precision (at least float32).

    Raises:
        InputError: For a setting that does not exist, and for inputs or targets that do not fit.
    """
    if unknown := sorted(set(passed) - _PASSED):
        raise InputError(f"explain has no setting {', '.join(unknown)}; it has {_KNOWN}.")
    method = method_for(part, model, rule, temperature, fold, fallback)
    x, classes = _tensors(model, inputs, targets, device)
    maps = [
        cast(Tensor, method.explain(x[rows], classes[rows]).map)
        for rows in chunks(len(x), internal_batch_size)
    ]
    whole = torch.cat(maps)
    return _array(whole.sum(1, keepdim=True) if sum_channels else whole)


def _tensors(
    model: nn.Module,
    inputs: NDArray[Any],
    targets: NDArray[Any],
    device: str | torch.device | None,
) -> tuple[Tensor, Tensor]:
    """Inputs like the model's parameters, and targets, one for each.

    Arrays are copied: they may be read-only or reversed views, which torch does not take.
    """
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    like = tensors[0] if tensors else torch.empty(0, device=device)
    x = torch.from_numpy(np.array(inputs, dtype=np.float64, order="C")).to(like)
    classes = torch.tensor(np.asarray(targets).tolist(), device=x.device)
    if x.ndim == 0 or classes.shape != x.shape[:1]:
        raise InputError(
            f"Got targets of shape {tuple(classes.shape)} for inputs of shape {tuple(x.shape)}; "
            "give one class for each sample."
        )
    return x.detach(), classes


def _array(maps: Tensor) -> NDArray[Any]:
    """As numpy, which has no bfloat16."""
    made: NDArray[Any] = maps.to(torch.promote_types(maps.dtype, torch.float32)).cpu().numpy()
    return made
