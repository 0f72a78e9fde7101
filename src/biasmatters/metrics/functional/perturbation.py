"""Deletion and insertion, after RISE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from biasmatters.metrics.functional._checks import (
    MetricInputError,
    check_count,
    check_images,
    check_target,
    pixel_scores,
)
from biasmatters.metrics.functional.ranking import Order, pixel_rank
from biasmatters.metrics.functional.substrate import Baseline, substrate

Score = Literal["probability", "logit"]
Model = Callable[[Tensor], Tensor]

VALUES_PER_CHUNK = 2**22
PICTURES_PER_CHUNK = 512


@dataclass(frozen=True)
class Curve:
    """How the score of one class moves while pixels are replaced.

    Attributes:
        fractions: ``(steps + 1,)`` share of the pixels replaced so far, from 0 to 1.
        scores: ``(N, steps + 1)`` score of the target class.
        auc: ``(N,)`` area under the curve by the trapezoidal rule over ``fractions``.
        target: ``(N,)`` the class that was followed.
    """

    fractions: Tensor
    scores: Tensor
    auc: Tensor
    target: Tensor


def deletion(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    steps: int = 28,
    baseline: Baseline = "zero",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while the most salient pixels are taken away.

    Point i has its floor(i P / steps) most salient of P pixels, all channels together, replaced
    by the baseline; auc = sum_i (s_i + s_{i+1}) / 2 (t_{i+1} - t_i). A good map falls early: low
    is better. Where ``steps`` divides P this is RISE's protocol, which visits P / steps pixels a
    step and divides (sum - first/2 - last/2) by the number of steps.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)``, or ``(N, C, H, W)`` to be summed over channels, in any unit.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        steps: Number of steps, at most P.
        baseline: ``zero`` (in that input space), ``mean``, ``blur`` or a tensor.
        order: ``signed``, ``absolute`` or ``negative``.
        score: Softmax ``probability`` or raw ``logit``.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the tie-break, and so of the whole order of a constant map (which warns).

    Returns:
        The curve of every picture, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, more steps than pixels, or a blur that is
            larger than the picture.

    Source:
        Petsiuk, Das, Saenko: RISE, BMVC 2018; ``evaluation.py`` of the authors' code.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1]]))
        >>> x = torch.ones(1, 1, 2, 2)
        >>> good = deletion(model, x, torch.tensor([[[9.0, 2], [1, 0]]]), steps=4)
        >>> bad = deletion(model, x, torch.tensor([[[0.0, 1], [2, 9]]]), steps=4)
        >>> bool(good.auc < bad.auc)
        True
    """
    check_images(x)
    return _replace(
        model, x, x, substrate(x, baseline), maps, target, steps, order, score, chunk_size, seed
    )


def insertion(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    steps: int = 28,
    baseline: Baseline = "blur",
    order: Order = "signed",
    score: Score = "probability",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Curve:
    """Follow the target's score while the most salient pixels are put back into a baseline.

    The mirror of :func:`deletion`: it starts from the baseline (an 11x11 Gaussian blur of sigma
    5, as RISE codes it) and ends with x. A good map rises early: high is better.

    Args:
        model: As for :func:`deletion`.
        x: As for :func:`deletion`.
        maps: As for :func:`deletion`.
        target: As for :func:`deletion`.
        steps: As for :func:`deletion`.
        baseline: As for :func:`deletion`; ``blur`` needs a picture of at least 11x11 pixels.
        order: As for :func:`deletion`.
        score: As for :func:`deletion`.
        chunk_size: As for :func:`deletion`.
        seed: As for :func:`deletion`.

    Returns:
        The curve of every picture, on x's device.

    Raises:
        MetricInputError: As for :func:`deletion`.

    Source:
        Petsiuk, Das, Saenko: RISE, BMVC 2018; ``evaluation.py`` of the authors' code.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1]]))
        >>> x = torch.ones(1, 1, 2, 2)
        >>> maps = torch.tensor([[[9.0, 2], [1, 0]]])
        >>> insertion(model, x, maps, steps=4, baseline="zero").scores[0].round(decimals=2)
        tensor([0.5000, 0.9500, 0.9500, 0.9500, 0.8800])
    """
    check_images(x)
    return _replace(
        model, x, substrate(x, baseline), x, maps, target, steps, order, score, chunk_size, seed
    )


def _replace(
    model: Model,
    x: Tensor,
    start: Tensor,
    finish: Tensor,
    maps: Tensor,
    target: int | Tensor | None,
    steps: int,
    order: Order,
    score: Score,
    chunk_size: int | None,
    seed: int,
) -> Curve:
    """Go from ``start`` to ``finish`` in the order of the maps."""
    n, (height, width) = len(x), x.shape[-2:]
    check_count("steps", steps, 1, height * width)
    if score not in ("probability", "logit"):
        raise MetricInputError(f"score={score!r} is unknown; choose probability or logit.")
    chunk = _chunk(x) if chunk_size is None else chunk_size
    check_count("chunk_size", chunk, 1)
    rank = pixel_rank(pixel_scores(maps, x), order, seed).view(n, 1, 1, height, width)
    counts = torch.arange(steps + 1, device=x.device) * (height * width) // steps
    intact = 0 if start is x else steps
    wanted = None if target is None else _index(target, n)
    parts: list[tuple[Tensor, Tensor]] = []
    with undisturbed(model), torch.no_grad():
        for first in range(0, n, chunk):
            block = slice(first, first + chunk)
            out = _outputs(model, rank[block], start[block], finish[block], counts, chunk)
            part = out[:, intact].argmax(1) if wanted is None else wanted[block]
            parts.append(_follow(out, part, score, given=wanted is not None))
    scores, chosen = (torch.cat(column) for column in zip(*parts, strict=True))
    if not bool(scores.isfinite().all()):
        raise MetricInputError("the model gave NaN or infinite logits; its scores mean nothing.")
    fractions = (counts.double() / (height * width)).to(scores)
    return Curve(fractions, scores, torch.trapezoid(scores, fractions, dim=1), chosen)


def _follow(out: Tensor, chosen: Tensor, score: Score, given: bool) -> tuple[Tensor, Tensor]:
    """Score ``(n, points)`` of one class per picture, from logits ``(n, points, classes)``."""
    if given:
        chosen = check_target(chosen, len(out), out.shape[2]).to(out.device)
    values = out.softmax(2) if score == "probability" else out
    index = chosen.view(-1, 1, 1).expand(-1, out.shape[1], 1)
    return values.gather(2, index)[..., 0], chosen


def _index(target: int | Tensor, n: int) -> Tensor:
    """The target as ``(n,)`` indices, before the number of classes is known."""
    return check_target(target, n, torch.iinfo(torch.int64).max)


def _chunk(x: Tensor) -> int:
    """How many pictures go through the model at once, so that memory is bounded."""
    return max(1, min(PICTURES_PER_CHUNK, VALUES_PER_CHUNK // x[0].numel()))


def _outputs(
    model: Model, rank: Tensor, start: Tensor, finish: Tensor, counts: Tensor, chunk: int
) -> Tensor:
    """Logits ``(n, len(counts), classes)`` of pictures with their top-ranked pixels replaced."""
    shape, parts = start.shape[1:], []
    passes = -(-len(counts) // max(1, chunk // len(start)))
    for part in torch.tensor_split(counts, passes):
        keep = rank >= part.view(-1, 1, 1, 1)
        masked = torch.where(keep, start.unsqueeze(1), finish.unsqueeze(1))
        out = _logits(model, masked.reshape(-1, *shape))
        parts.append(out.reshape(len(start), len(part), -1))
    return torch.cat(parts, 1)


def _logits(model: Model, x: Tensor) -> Tensor:
    """Run the model and refuse outputs that are not one row of logits a picture."""
    out = model(x)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise MetricInputError(
            f"the model gave {shape} for {len(x)} pictures; it must give (n, classes) logits: "
            "wrap it so that it does."
        )
    return out


@contextmanager
def undisturbed(model: Model) -> Iterator[None]:
    """Run a module in eval mode and give every submodule its own mode back."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
