"""Where the label stands among the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_target

TOP = 5


def label_confidence(logits: Tensor, labels: int | Tensor) -> Tensor:
    """Softmax probability of the label, exp(z_y) / sum_k exp(z_k).

    Args:
        logits: ``(N, classes)``, finite.
        labels: ``(N,)`` class indices.

    Returns:
        ``(N,)`` between 0 and 1.

    Raises:
        MetricInputError: For logits that are not finite ``(N, classes)``, or labels that are not
            classes.

    Example:
        >>> import torch
        >>> label_confidence(torch.tensor([[0.0, 0.0], [3.0, -3.0]]), torch.tensor([1, 0]))
        tensor([0.5000, 0.9975])
    """
    target = _checked(logits, labels)
    return logits.softmax(1).gather(1, target[:, None])[:, 0]


def label_rank(logits: Tensor, labels: int | Tensor) -> Tensor:
    """Rank of the label's logit, 1 + #{k : z_k > z_y} + #{k < y : z_k = z_y}.

    Of equal logits the class of the lower index comes first, so that rank 1 is "right" for one
    class only.

    Args:
        logits: As for :func:`label_confidence`.
        labels: As for :func:`label_confidence`.

    Returns:
        ``(N,)`` float32 whole numbers from 1 (top) to the number of classes.

    Raises:
        MetricInputError: As for :func:`label_confidence`.

    Example:
        >>> import torch
        >>> label_rank(torch.tensor([[5.0, 7.0, 6.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 1]))
        tensor([3., 2.])
    """
    target = _checked(logits, labels)[:, None]
    own, index = logits.gather(1, target), torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (index < target))
    return before.sum(1).float() + 1


def label_standing(logits: Tensor, labels: int | Tensor) -> dict[str, Tensor]:
    """Every figure of how the label stands.

    Args:
        logits: As for :func:`label_confidence`.
        labels: As for :func:`label_confidence`.

    Returns:
        ``accuracy`` (0 or 1), ``confidence``, ``rank`` and, where there are more than 5 classes,
        ``top5`` (0 or 1: rank of at most 5), each ``(N,)``.

    Raises:
        MetricInputError: As for :func:`label_confidence`.

    Example:
        >>> import torch
        >>> found = label_standing(torch.eye(6)[:1], torch.tensor([4]))
        >>> {name: round(value.item(), 2) for name, value in found.items()}
        {'confidence': 0.13, 'rank': 5.0, 'accuracy': 0.0, 'top5': 1.0}
    """
    confidence, rank = label_confidence(logits, labels), label_rank(logits, labels)
    return {"confidence": confidence, "rank": rank, **hits(rank, logits.shape[1])}


def hits(rank: Tensor, classes: int) -> dict[str, Tensor]:
    """``accuracy`` and, where there are more than 5 classes, ``top5``, from ranks of any shape."""
    found = {"accuracy": (rank <= 1).float()}
    return {**found, "top5": (rank <= TOP).float()} if classes > TOP else found


def _checked(logits: Tensor, labels: int | Tensor) -> Tensor:
    """The labels as class indices of these logits."""
    if logits.ndim != 2 or 0 in logits.shape or not logits.is_floating_point():
        raise MetricInputError(
            f"logits are {logits.dtype} of shape {tuple(logits.shape)}; give floating-point "
            "(N, classes)."
        )
    if not bool(logits.isfinite().all()):
        raise MetricInputError("the logits hold NaN or infinity; the label has no rank in them.")
    return check_target(labels, *logits.shape).to(logits.device)
