"""Run a model over changed pictures and follow the score of one class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from biasmatters.metrics.functional._checks import MetricInputError, check_count, check_target

Score = Literal["probability", "logit"]
Model = Callable[[Tensor], Tensor]
# Draws the changed pictures of some rows at some points: (rows, points) -> (n, p, C, H, W).
Draw = Callable[[slice, Tensor], Tensor]

# What fits the caches of a processor; more at a time is slower, by a third on two cores. On a GPU
# as many times more fill it.
VALUES_PER_CHUNK = 2**20
PICTURES_PER_CHUNK = 256
GPU_VALUES, GPU_PICTURES = 8, 4


def follow(
    model: Model,
    x: Tensor,
    points: Tensor,
    draw: Draw,
    target: int | Tensor | None = None,
    *,
    intact: int | None = None,
    score: Score = "probability",
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Score changed pictures, as many at a time as memory allows.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` the intact pictures.
        points: ``(points,)`` whatever ``draw`` makes pictures from.
        draw: Called with a slice of the pictures and some of the points; returns the changed
            pictures ``(n, p, C, H, W)``.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        intact: Which point is the intact picture, so that it need not be run again; None if no
            point is.
        score: Softmax ``probability`` or raw ``logit``.
        chunk_size: Pictures per forward pass; None bounds them by memory.

    Returns:
        ``(N, points)`` scores and the ``(N,)`` classes followed, on x's device.

    Raises:
        MetricInputError: For a target, score or chunk size that cannot be, or a model that gives
            anything but finite ``(n, classes)``.
    """
    if score not in get_args(Score):
        raise MetricInputError(f"score={score!r} is unknown; choose probability or logit.")
    chunk = chunk_of(x, chunk_size)
    wanted = None if target is None else class_index(target, len(x))
    parts: list[tuple[Tensor, Tensor]] = []
    with undisturbed(model), torch.no_grad():
        for first in range(0, len(x), chunk):
            rows = slice(first, min(first + chunk, len(x)))
            out = _outputs(model, rows, points, draw, chunk)
            if wanted is not None:
                parts.append(_pick(out, check_target(wanted[rows], len(out), out.shape[2]), score))
                continue
            whole = out[:, intact] if intact is not None else logits(model, x[rows])
            parts.append(_pick(out, whole.argmax(1), score))
    scores, chosen = (torch.cat(column) for column in zip(*parts, strict=True))
    if not bool(scores.isfinite().all()):
        raise MetricInputError("the model gave NaN or infinite logits; its scores mean nothing.")
    return scores, chosen


def class_index(target: int | Tensor, n: int) -> Tensor:
    """The target as ``(n,)`` indices, before the number of classes is known."""
    return check_target(target, n, torch.iinfo(torch.int64).max)


def pictures_per_pass(x: Tensor) -> int:
    """How many pictures like those of ``x (N, C, H, W)`` go through a model at once."""
    values, pictures = VALUES_PER_CHUNK, PICTURES_PER_CHUNK
    if x.is_cuda:
        values, pictures = values * GPU_VALUES, pictures * GPU_PICTURES
    return max(1, min(pictures, values // x[0].numel()))


def chunk_of(x: Tensor, chunk_size: int | None) -> int:
    """The number of pictures like x's to run at once: as asked, or as memory bounds it.

    Raises:
        MetricInputError: For a number below 1.
    """
    chunk = pictures_per_pass(x) if chunk_size is None else chunk_size
    check_count("chunk_size", chunk, 1)
    return chunk


def logits(model: Model, x: Tensor) -> Tensor:
    """Run the model and refuse outputs that are not one row of logits a picture."""
    out = model(x)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise MetricInputError(
            f"the model gave {shape} for {len(x)} pictures; it must give (n, classes) logits: "
            "wrap it so that it does."
        )
    return out


def _outputs(model: Model, rows: slice, points: Tensor, draw: Draw, chunk: int) -> Tensor:
    """Logits ``(n, points, classes)`` of some rows' pictures at every point."""
    n, parts = rows.stop - rows.start, []
    passes = -(-len(points) // max(1, chunk // n))
    for some in torch.tensor_split(points, passes):
        out = logits(model, draw(rows, some).flatten(0, 1))
        parts.append(out.reshape(n, len(some), -1))
    return torch.cat(parts, 1)


def _pick(out: Tensor, chosen: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    """Score ``(n, points)`` of one class per picture, from logits ``(n, points, classes)``."""
    chosen = chosen.to(out.device)
    values = out.softmax(2) if score == "probability" else out
    index = chosen.view(-1, 1, 1).expand(-1, out.shape[1], 1)
    return values.gather(2, index)[..., 0], chosen


@contextmanager
def undisturbed(model: object) -> Iterator[None]:
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
