"""Ask a model for its classes and a method for its maps, some pictures at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_target
from biasmatters.metrics.functional._maps import map_values
from biasmatters.metrics.functional.explaining import Explain
from biasmatters.metrics.functional.following import Model, logits, undisturbed


def asked_class(
    model: Model, x: Tensor, target: int | Tensor | None, chunk: int
) -> tuple[Tensor, int]:
    """The class to explain and the number of classes there are.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)``; a module is run in eval mode.
        x: ``(N, C, H, W)``.
        target: One class or ``(N,)``; None is the class predicted.
        chunk: Pictures at a time.

    Returns:
        ``(N,)`` int64 on x's device, and the number of classes.

    Raises:
        MetricInputError: For a target that the output does not have, or logits that are not finite.
    """
    with undisturbed(model), torch.no_grad():
        if target is not None:
            classes = logits(model, x[:1]).shape[1]
            return check_target(target, len(x), classes).to(x.device), classes
        parts = [logits(model, some) for some in torch.split(x, chunk)]
    out = torch.cat(parts)
    if not bool(out.isfinite().all()):
        raise MetricInputError("the model gave NaN or infinite logits; it predicts no class.")
    return out.argmax(1).to(x.device), out.shape[1]


def asked_maps(explain: Explain, x: Tensor, target: Tensor, chunk: int) -> Tensor:
    """The method's maps, summed over channels.

    Args:
        explain: The method.
        x: ``(N, C, H, W)``.
        target: ``(N,)`` classes.
        chunk: Pictures at a time.

    Returns:
        ``(N, H, W)`` float64 on x's device.

    Raises:
        MetricInputError: For maps of another shape, or that are not finite.
    """
    pairs = zip(torch.split(x, chunk), torch.split(target, chunk), strict=True)
    parts = [map_values(explain(some, classes), some).sum(1) for some, classes in pairs]
    return torch.cat(parts)
