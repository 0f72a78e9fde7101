"""Random draws that belong to a sample's index, so that they can be made again in any chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from biasmatters.metrics.functional.following import VALUES_PER_CHUNK


def sample_seeds(count: int, seed: int) -> list[int]:
    """One seed per sample, made of one seed.

    Args:
        count: Number of samples.
        seed: Of the whole series.
    """
    generator = torch.Generator().manual_seed(seed)
    seeds: list[int] = torch.randint(2**32, (count,), generator=generator).tolist()
    return seeds


def drawn(
    seeds: Sequence[int], indices: Tensor, make: Callable[[torch.Generator], Tensor]
) -> Tensor:
    """Stack what ``make`` draws for some samples.

    Args:
        seeds: One per sample.
        indices: ``(p,)`` which samples.
        make: Draws one sample on the CPU, in the same way on every device and for every type.

    Returns:
        ``(p, ...)`` on the device of the indices.
    """
    chosen = [seeds[i] for i in indices.tolist()]
    parts = [make(torch.Generator().manual_seed(one)) for one in chosen]
    return torch.stack(parts).to(indices.device)


def inner_products(values: Tensor, count: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Multiply every map with every sample, a few samples at a time.

    Args:
        values: ``(N, F)`` float64.
        count: Number of samples.
        draw: Makes samples ``(p, *)`` of F entries each from their indices ``(p,)``.

    Returns:
        ``(N, count)`` float64.
    """
    block = max(1, VALUES_PER_CHUNK // values.shape[1])
    parts = [
        values @ draw(some).flatten(1).to(values).T
        for some in torch.arange(count, device=values.device).split(block)  # type: ignore[no-untyped-call]
    ]
    return torch.cat(parts, 1)
