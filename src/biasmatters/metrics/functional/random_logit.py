"""Does the map of another class look any different?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.metrics.functional._checks import MetricInputError, check_images
from biasmatters.metrics.functional.asking import asked_class, asked_maps
from biasmatters.metrics.functional.explaining import Method
from biasmatters.metrics.functional.following import chunk_of, undisturbed
from biasmatters.metrics.functional.similarity import Similarity, similarity_of


def random_logit(
    model: nn.Module,
    method: Method,
    x: Tensor,
    target: int | Tensor | None = None,
    *,
    similarity: Similarity = "ssim",
    seed: int = 0,
    chunk_size: int | None = None,
) -> Tensor:
    """Compare the map of a class with the map of a random other class.

    score = similarity(map of t, map of (t + 1 + r_t) mod K), with r_t drawn evenly from 0..K-2 for
    each of the K classes. A map that shows what speaks for the class differs: low is better, and 1
    is the score of a method that does not see the class.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, K)`` logits; run in eval mode, and comes back as it
            was.
        method: Binds the method to the model.
        x: ``(N, C, H, W)`` pictures in the network's input space.
        target: Class explained, one or ``(N,)``; None is the class predicted on x.
        similarity: ``ssim``, ``spearman`` (signed ranks), ``spearman_absolute`` or ``cosine``.
        seed: Of the other class, which depends on the seed and on the target alone: a picture has
            the same one in any batch.
        chunk_size: Pictures explained at a time; None bounds them by memory.

    Returns:
        ``(N,)`` float64 on x's device, at most 1.

    Raises:
        MetricInputError: For settings or shapes that cannot be, a model of one class, or maps that
            are not finite.

    Source:
        Sixt, Granz, Landgraf: When Explanations Lie, ICML 2020 (code read: SSIM, for which see
        :func:`~biasmatters.metrics.functional.similarity.ssim`; there a draw per picture).

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        >>> weights = lambda net: lambda x, target: net[1].weight[target].view_as(x)
        >>> picture = lambda net: lambda x, target: x
        >>> x = torch.randn(4, 1, 6, 6)
        >>> bool((random_logit(model, weights, x) < 0.9).all()), random_logit(model, picture, x)
        (True, tensor([1., 1., 1., 1.], dtype=torch.float64))
    """
    check_images(x)
    compare = similarity_of(similarity)
    chunk = chunk_of(x, chunk_size)
    with undisturbed(model):
        chosen, classes = asked_class(model, x, target, chunk)
        explain = method(model)
        own = asked_maps(explain, x, chosen, chunk)
        return compare(own, asked_maps(explain, x, other_class(chosen, classes, seed), chunk))


def other_class(target: Tensor, classes: int, seed: int = 0) -> Tensor:
    """A random class for each target that is not the target.

    Args:
        target: ``(N,)`` int64.
        classes: How many there are.
        seed: Of the draw.

    Returns:
        ``(N,)`` int64, the same for the same target.

    Raises:
        MetricInputError: If there is only one class.

    Example:
        >>> other_class(torch.tensor([0, 1, 0]), classes=2)
        tensor([1, 0, 1])
    """
    if classes < 2:
        raise MetricInputError("the model has a single output; there is no other class to explain.")
    draws = torch.Generator().manual_seed(seed)
    steps = 1 + torch.randint(classes - 1, (classes,), generator=draws)
    return (target + steps.to(target.device)[target]) % classes
