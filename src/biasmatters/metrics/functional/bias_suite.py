"""The bias ablation of a whole data set in one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from biasmatters.metrics.functional.ablation import AblationMode, BiasAblation, bias_ablation
from biasmatters.metrics.functional.bias_margin import MarginOf, ablation_figures
from biasmatters.metrics.functional.following import chunk_of

# Unbounded where two classes nearly tie, so that a mean of them means nothing.
SHARES = ("bias_share", "weight_share")


def bias_suite(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    *,
    mode: AblationMode = "forward",
    margin_of: MarginOf = "predicted",
    chunk_size: int | None = None,
) -> dict[str, Tensor]:
    """Everything that f, w.x, b, and w.x with the mean of b over these pictures say of each.

    Args:
        model: Maps ``(N, ...)`` to ``(N, classes)`` logits.
        x: ``(N, *features)``: the whole data set, since b is averaged over it.
        labels: ``(N,)`` class indices.
        mode: As for :func:`bias_ablation`.
        margin_of: As for :func:`ablation_figures`.
        chunk_size: Pictures split at a time; None bounds them by memory.

    Returns:
        ``(N,)`` figures by name, those of :func:`ablation_figures` whose mean means something.

    Raises:
        MetricInputError: As those two.

    Source:
        Wang, Zhou, Bilmes: Bias Also Matters, ICML 2019, Table 1, and what else the split says.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2)
        >>> model.weight.data, model.bias.data = torch.eye(2), torch.tensor([0.0, 5.0])
        >>> found = bias_suite(model, torch.tensor([[2.0, 1.0], [9.0, 1.0]]), torch.tensor([0, 0]))
        >>> found["accuracy_all"].tolist(), found["accuracy_weight"].tolist()
        ([0.0, 1.0], [1.0, 1.0])
    """
    chunk = chunk_of(x, chunk_size)
    split = [bias_ablation(model, x[i : i + chunk], mode=mode) for i in range(0, len(x), chunk)]
    parts = BiasAblation(
        torch.cat([part.all for part in split]),
        torch.cat([part.weight for part in split]),
        torch.cat([part.bias for part in split]),
    )
    found = ablation_figures(parts, labels, mean_bias=parts.bias.mean(0), margin_of=margin_of)
    return {name: values for name, values in found.items() if name not in SHARES}
