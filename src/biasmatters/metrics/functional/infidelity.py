"""Infidelity: how far what a map foretells of a perturbation is from what the model does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count, check_images
from biasmatters.metrics.functional._draws import drawn, inner_products, sample_seeds
from biasmatters.metrics.functional._maps import map_values
from biasmatters.metrics.functional.following import Model, Score, follow
from biasmatters.metrics.functional.substrate import Baseline, substrate

Perturbation = Literal["square", "subset", "gaussian", "noisy_baseline"]
Units = Literal["contribution", "gradient"]
NOISES = ("gaussian", "noisy_baseline")


def infidelity(
    model: Model,
    x: Tensor,
    maps: Tensor,
    target: int | Tensor | None = None,
    *,
    perturbation: Perturbation = "square",
    units: Units = "contribution",
    samples: int = 200,
    side: float = 10 / 28,
    noise: float = 0.2,
    baseline: Baseline = "zero",
    normalize: bool = True,
    score: Score = "logit",
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Mean squared difference between what a map says of perturbations and what the output does.

    mean_I( (beta I.Phi - (f(x) - f(x')))^2 ), with x' the perturbed picture; low is better, 0 the
    least. beta = sum(I.Phi drop) / sum((I.Phi)^2) is each map's own best scale, as the authors
    code it (0 if every I.Phi is 0), or 1 with ``normalize=False``. It may be negative, so that a
    map and its negation score alike; sensitivity-n tells them apart. The figure is in squared
    units of the output and depends on the law of I: compare within one law and one network only.

    ==================  ==========================================  ============================
    ``perturbation``    x'                                          I in ``gradient`` units
    ==================  ==========================================  ============================
    ``square``          a random square becomes baseline            x - baseline in the square
    ``subset``          each pixel by a coin becomes baseline       x - baseline on the subset
    ``gaussian``        x - noise, N(0, noise^2) per value          the noise
    ``noisy_baseline``  baseline + noise                            x - baseline - noise
    ==================  ==========================================  ============================

    In ``contribution`` units, for maps that share out the output among pixels (gradient x input,
    BBp, LRP, integrated gradients), I is 1 for a pixel that became baseline and 0 for others, so
    I.Phi is the attribution taken away; noise takes no definite share of a pixel away and is
    refused. ``gradient`` units are for maps per unit of input. There I differs between the
    channels, so several channels need ``(N, C, H, W)`` maps. The same draws are used for every
    picture.

    Args:
        model: Maps ``(n, C, H, W)`` to ``(n, classes)`` logits; a module is run in eval mode and
            comes back as it was.
        x: ``(N, C, H, W)`` pictures in the network's (normalised) input space.
        maps: ``(N, H, W)`` or ``(N, C, H, W)``, in the units named.
        target: Class followed, one or ``(N,)``; None is the class predicted on the intact x.
        perturbation: The law of I, from the table.
        units: ``contribution`` or ``gradient``: what Phi is.
        samples: How many I are drawn; squares are drawn without repetition, so that as many as
            there are squares, or more, means each once (the authors' protocol).
        side: Largest side of a square, in pixels or as a share of the shorter edge; all squares
            of side 1 up to it are equally likely.
        noise: Standard deviation in units of x.
        baseline: ``zero`` (in that input space), ``mean``, ``blur``, ``noise`` or a tensor.
        normalize: Whether each map is scaled by its beta first.
        score: Raw ``logit`` or softmax ``probability``.
        chunk_size: Pictures per forward pass; None bounds them by memory.
        seed: Of the draws, and of a noise baseline.

    Returns:
        ``(N,)``, on x's device.

    Raises:
        MetricInputError: For shapes that disagree, NaN, unknown names, noise in contribution
            units, or a square larger than the picture.

    Source:
        Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity of
        Explanations, NeurIPS 2019; ``infid_sen_utils.py`` of the authors' code (read): all
        squares of side 1..10 on MNIST to 0 with contributions; noise of 0.2 around 0 with
        gradients, where x' is clipped to [0, 1], which inputs that are normalised cannot be.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> x = torch.rand(1, 1, 4, 4)
        >>> exact = x * model[1].weight[1].detach().view(1, 1, 4, 4)
        >>> bool(infidelity(model, x, exact, 1, side=2, normalize=False) < 1e-10)
        True
        >>> bool(infidelity(model, x, exact.flip(3), 1, side=2) > 1e-6)
        True
    """
    check_images(x)
    law = _law(perturbation, x.shape, samples, side, noise, seed)
    start = substrate(x, baseline, seed)
    weights, offset = _weights(map_values(maps, x), x, start, perturbation, units)

    def draw(rows: slice, some: Tensor) -> Tensor:
        changed = _changed(perturbation, x[rows], start[rows], law.draw(some.clamp(min=0)))
        intact = (some < 0).view(-1, 1, 1, 1)
        return torch.where(intact, x[rows].unsqueeze(1), changed)

    # Place -1 is the intact picture.
    places = torch.arange(-1, law.count, device=x.device)
    scores, _ = follow(model, x, places, draw, target, intact=0, score=score, chunk_size=chunk_size)
    drop = (scores[:, :1] - scores[:, 1:]).double()
    foretold = offset.unsqueeze(1) + inner_products(weights, law.count, law.draw)
    if normalize:
        foretold = foretold * _best_scale(foretold, drop).unsqueeze(1)
    return (foretold - drop).square().mean(1).to(scores)


@dataclass(frozen=True)
class _Law:
    """What is drawn: ``count`` samples, each made from its index.

    Attributes:
        count: How many.
        draw: Indices ``(p,)`` to masks ``(p, 1, H, W)`` of 0 and 1, or to noise ``(p, C, H, W)``.
    """

    count: int
    draw: Callable[[Tensor], Tensor]


def _law(
    perturbation: Perturbation,
    shape: torch.Size,
    samples: int,
    side: float,
    noise: float,
    seed: int,
) -> _Law:
    """The samples of a law, for pictures of a shape ``(N, C, H, W)``."""
    if perturbation not in get_args(Perturbation):
        raise MetricInputError(
            f"perturbation={perturbation!r} is unknown; choose one of {get_args(Perturbation)}."
        )
    check_count("samples", samples, 1)
    if perturbation == "square":
        return _squares(shape, samples, side, seed)
    if perturbation in NOISES and not noise > 0:
        raise MetricInputError(f"noise={noise} is no standard deviation; give a positive one.")
    seeds, (_, channels, height, width) = sample_seeds(samples, seed), shape

    def coins(generator: torch.Generator) -> Tensor:
        return torch.randint(2, (1, height, width), generator=generator)

    def normals(generator: torch.Generator) -> Tensor:
        size = (channels, height, width)
        return noise * torch.randn(size, generator=generator, dtype=torch.float64)

    make = coins if perturbation == "subset" else normals
    return _Law(samples, lambda some: drawn(seeds, some, make))


def _squares(shape: torch.Size, samples: int, side: float, seed: int) -> _Law:
    """Different squares, all sides and places alike."""
    height, width = shape[-2:]
    edge = min(height, width)
    largest = max(1, round(side * edge)) if isinstance(side, float) else side
    check_count("side", largest, 1, edge)
    kinds = [(s, height - s + 1, width - s + 1) for s in range(1, largest + 1)]
    table = torch.cat(
        [torch.cartesian_prod(torch.tensor([s]), *map(torch.arange, at)) for s, *at in kinds]
    )
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))
    chosen = table[order[:samples]]

    def draw(some: Tensor) -> Tensor:
        size, top, left = chosen.to(some.device)[some].view(-1, 3, 1, 1).unbind(1)
        row = torch.arange(height, device=some.device).view(1, -1, 1)
        column = torch.arange(width, device=some.device).view(1, 1, -1)
        down = (row >= top) & (row < top + size)
        return (down & (column >= left) & (column < left + size)).unsqueeze(1)

    return _Law(len(chosen), draw)


def _weights(
    values: Tensor, x: Tensor, start: Tensor, perturbation: Perturbation, units: Units
) -> tuple[Tensor, Tensor]:
    """The w ``(N, F)`` and c ``(N,)`` with I.Phi = c + w.d for every draw d."""
    none = values.new_zeros(len(x))
    if units not in get_args(Units):
        raise MetricInputError(f"units={units!r} is unknown; choose contribution or gradient.")
    if units == "contribution":
        if perturbation in NOISES:
            raise MetricInputError(
                f'{perturbation} takes no definite share of a pixel away; choose "square" or '
                '"subset", or units="gradient" with maps per unit of input.'
            )
        return values.sum(1).flatten(1), none
    if values.shape[1] != x.shape[1]:
        raise MetricInputError(
            f"gradient units weigh each of the {x.shape[1]} channels by its own change; give maps "
            f"of the shape {tuple(x.shape)}, not yet summed over channels."
        )
    if perturbation == "gaussian":
        return values.flatten(1), none
    whole = values * (x - start).double()
    if perturbation == "noisy_baseline":
        return -values.flatten(1), whole.flatten(1).sum(1)
    return whole.sum(1).flatten(1), none


def _changed(perturbation: Perturbation, x: Tensor, start: Tensor, what: Tensor) -> Tensor:
    """Perturbed pictures ``(n, p, C, H, W)``."""
    x, start = x.unsqueeze(1), start.unsqueeze(1)
    if perturbation == "gaussian":
        return x - what.to(x)
    if perturbation == "noisy_baseline":
        return start + what.to(x)
    return torch.where(what.bool(), start, x)


def _best_scale(foretold: Tensor, drop: Tensor) -> Tensor:
    """``(N,)`` least-squares scale of foretold onto drop, both ``(N, S)``; 0 for zero maps."""
    size = foretold.abs().amax(1, keepdim=True)
    # Divided first, so that tiny maps do not underflow when squared.
    unit = foretold / torch.where(size > 0, size, 1)
    square = unit.square().sum(1)
    return torch.where(square > 0, (unit * drop).sum(1) / square / size.squeeze(1), 0.0)
