"""Max-sensitivity: how far a map moves when the picture moves a little."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count, check_images
from biasmatters.metrics.functional._draws import drawn, sample_seeds
from biasmatters.metrics.functional._maps import map_values
from biasmatters.metrics.functional.explaining import Explain
from biasmatters.metrics.functional.following import chunk_of, class_index


def max_sensitivity(
    explain: Explain,
    x: Tensor,
    maps: Tensor | None,
    target: int | Tensor,
    *,
    radius: float | Tensor = 0.02,
    samples: int = 10,
    norm: float = 2.0,
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """The largest relative change of a map over small random changes of the picture.

    max_j |Phi(x + d_j) - Phi(x)| / |Phi(x)|, d_j uniform in [-radius, radius] for every value,
    the same draws for every picture. The class explained is that of the intact picture
    throughout. Low is better, but a map that never changes, such as a constant or an edge filter,
    scores best of all: never read it alone. A map of zeros has no norm to divide by; its change
    counts as it is.

    Args:
        explain: Called with pictures ``(n, C, H, W)`` and classes ``(n,)``; gives maps of them.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: What ``explain`` gave for x and target, ``(N, H, W)`` or ``(N, C, H, W)``; None asks
            it again.
        target: Class explained, one or ``(N,)``.
        radius: Half the edge of the cube that changes are drawn from, in units of x; a tensor
            that broadcasts to x gives every channel its own (0.02 / std).
        samples: How many changes are tried.
        norm: Order of the norm over all values of a map.
        chunk_size: Pictures per call of ``explain``; None bounds them by memory.
        seed: Of the changes.

    Returns:
        ``(N,)``, 0 or more, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, a target or a radius that cannot be.

    Source:
        Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity of
        Explanations, NeurIPS 2019; the authors' code (read) takes 50 samples within 0.1 or 0.2
        of [0, 1], Captum's ``sensitivity_max`` 10 within 0.02.

    Example:
        >>> import torch
        >>> x, target = torch.ones(1, 1, 2, 2), torch.tensor([0])
        >>> bool(max_sensitivity(lambda x, target: x, x, None, target, radius=0.1) < 0.1)
        True
        >>> max_sensitivity(lambda x, target: torch.ones_like(x), x, None, target)
        tensor([0.])
    """
    return _changes(explain, x, maps, target, radius, samples, norm, chunk_size, seed).amax(1)


def avg_sensitivity(
    explain: Explain,
    x: Tensor,
    maps: Tensor | None,
    target: int | Tensor,
    *,
    radius: float | Tensor = 0.02,
    samples: int = 10,
    norm: float = 2.0,
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """The mean relative change of a map over small random changes of the picture.

    mean_j |Phi(x + d_j) - Phi(x)| / |Phi(x)|: :func:`max_sensitivity` with the mean in place of
    the maximum, which grows with the number of samples. Low is better, and again best for a
    constant map.

    Args:
        explain: As for :func:`max_sensitivity`.
        x: As for :func:`max_sensitivity`.
        maps: As for :func:`max_sensitivity`.
        target: As for :func:`max_sensitivity`.
        radius: As for :func:`max_sensitivity`.
        samples: As for :func:`max_sensitivity`.
        norm: As for :func:`max_sensitivity`.
        chunk_size: As for :func:`max_sensitivity`.
        seed: As for :func:`max_sensitivity`.

    Returns:
        ``(N,)``, 0 or more, on x's device.

    Raises:
        MetricInputError: As for :func:`max_sensitivity`.

    Source:
        As for :func:`max_sensitivity`; the mean is recalled from Bhatt, Weller, Moura: Evaluating
        and Aggregating Feature-based Model Explanations, IJCAI 2020.

    Example:
        >>> import torch
        >>> x, target = torch.ones(1, 1, 2, 2), torch.tensor([0])
        >>> mean = avg_sensitivity(lambda x, target: x, x, None, target, radius=0.1)
        >>> bool(mean < max_sensitivity(lambda x, target: x, x, None, target, radius=0.1))
        True
    """
    return _changes(explain, x, maps, target, radius, samples, norm, chunk_size, seed).mean(1)


def _changes(
    explain: Explain,
    x: Tensor,
    maps: Tensor | None,
    target: int | Tensor,
    radius: float | Tensor,
    samples: int,
    norm: float,
    chunk_size: int | None,
    seed: int,
) -> Tensor:
    """Relative changes ``(N, samples)``."""
    check_images(x)
    check_count("samples", samples, 1)
    if not norm > 0:
        raise MetricInputError(f"norm={norm} is not the order of a norm; give 1, 2 or inf.")
    chunk = chunk_of(x, chunk_size)
    reach, seeds = _reach(radius, x), sample_seeds(samples, seed)
    classes = class_index(target, len(x)).to(x.device)
    known = None if maps is None else map_values(maps, x)
    parts = []
    for first in range(0, len(x), chunk):
        rows = slice(first, min(first + chunk, len(x)))
        at, asked = x[rows], classes[rows]
        own = _explained(explain, at, asked) if known is None else known[rows]
        moved = [
            _moved(explain, at.unsqueeze(1) + reach[rows].unsqueeze(1) * change, asked, own, norm)
            for change in _cubes(seeds, x, max(1, chunk // len(at)))
        ]
        size = torch.linalg.vector_norm(own.flatten(1), norm, dim=1, keepdim=True)
        parts.append(torch.cat(moved, 1) / torch.where(size > 0, size, 1))
    return torch.cat(parts).to(x.dtype)


def _reach(radius: float | Tensor, x: Tensor) -> Tensor:
    """The radius of every value, shaped like x."""
    reach = torch.as_tensor(radius).to(x)
    if not bool((reach.isfinite() & (reach >= 0)).all()) or not bool((reach > 0).any()):
        raise MetricInputError(f"radius={radius} is not possible; it must be positive.")
    try:
        return reach.expand_as(x)
    except RuntimeError as error:
        raise MetricInputError(
            f"a radius of shape {tuple(reach.shape)} does not broadcast to {tuple(x.shape)}; "
            "one per channel has the shape (C, 1, 1)."
        ) from error


def _cubes(seeds: list[int], x: Tensor, at_once: int) -> Iterator[Tensor]:
    """Draws ``(p, C, H, W)`` from [-1, 1], some at a time."""

    def uniform(generator: torch.Generator) -> Tensor:
        return 2 * torch.rand(x.shape[1:], generator=generator, dtype=torch.float64) - 1

    for first in range(0, len(seeds), at_once):
        last = min(first + at_once, len(seeds))
        yield drawn(seeds, torch.arange(first, last, device=x.device), uniform).to(x)


def _moved(explain: Explain, pictures: Tensor, asked: Tensor, own: Tensor, norm: float) -> Tensor:
    """How far the maps ``(n, p)`` of pictures ``(n, p, C, H, W)`` are from the own ones."""
    n, p = pictures.shape[:2]
    found = _explained(explain, pictures.flatten(0, 1), asked.repeat_interleave(p))
    if found.shape[1:] != own.shape[1:]:
        raise MetricInputError(
            f"explain gave maps of shape {tuple(found.shape)}, which do not fit the given "
            f"{tuple(own.shape)}; give the maps that it makes, or maps=None."
        )
    apart = found.view(n, p, -1) - own.view(n, 1, -1)
    far: Tensor = torch.linalg.vector_norm(apart, norm, dim=2)
    return far


def _explained(explain: Explain, x: Tensor, asked: Tensor) -> Tensor:
    """Maps of x with a channel axis, in double precision."""
    return map_values(explain(x, asked), x)
