"""What a trained network still knows when its biases are set to zero, or to their mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.biases import (
    BatchNorm,
    Replace,
    bias_replacements,
    copied_buffers,
)
from biasmatters.metrics.functional.following import (
    chunk_of,
    class_index,
    logits,
    undisturbed,
)
from biasmatters.metrics.functional.standing import hits, label_confidence, label_rank

RemovalOrder = Literal["each", "top", "bottom", "all"]
INTACT = "none"


@dataclass(frozen=True)
class BiasRemoval:
    """The label's standing under every variant of a network.

    Attributes:
        names: The L layers with a bias, in the order in which they are run.
        variants: The V variants: ``none`` (the intact network), then the layer whose bias is
            replaced last in each, or ``all``.
        removed: ``(V, L)`` bool, which layers' biases are replaced.
        confidence: ``(V, N)`` softmax probability of the label.
        rank: ``(V, N)`` of the label, 1 is top.
        predicted: ``(V, N)`` the class predicted.
        classes: How many there are.
    """

    names: tuple[str, ...]
    variants: tuple[str, ...]
    removed: Tensor
    confidence: Tensor
    rank: Tensor
    predicted: Tensor
    classes: int

    def figures(self) -> dict[str, Tensor]:
        """Name to ``(V, N)`` figures.

        ``accuracy`` (0 or 1), ``confidence``, ``rank``, ``unchanged`` (0 or 1: predicted as by
        the intact network) and, for more than 5 classes, ``top5`` (0 or 1).
        """
        return {
            "confidence": self.confidence,
            "rank": self.rank,
            "unchanged": (self.predicted == self.predicted[:1]).float(),
            **hits(self.rank, self.classes),
        }

    def per_image(self) -> dict[str, Tensor]:
        """``<figure>/<variant>`` to ``(N,)``, to be bootstrapped."""
        return {
            f"{figure}/{variant}": values
            for figure, rows in self.figures().items()
            for variant, values in zip(self.variants, rows, strict=True)
        }


def bias_removal(
    model: nn.Module,
    x: Tensor,
    labels: int | Tensor,
    *,
    order: RemovalOrder = "each",
    replace: Replace = "zero",
    batch_norm: BatchNorm = "effective",
    chunk_size: int | None = None,
) -> BiasRemoval:
    """Score the label while the biases of a trained network are taken away layer by layer.

    Unlike :func:`bias_ablation`, which keeps each picture's own w and b, this changes the network:
    z_l = W_l x_{l-1} + b'_l with b'_l = 0, or the mean of b_l over its units, in the layers
    removed, so activations switch and w moves as well.

    Args:
        model: A module from ``(n, *features)`` to ``(n, classes)``; it runs in eval mode on
            changed copies of its state, and is never written to.
        x: ``(N, *features)``, floating point.
        labels: ``(N,)`` class indices.
        order: ``each`` layer alone; cumulatively from the ``top`` (output) or from the ``bottom``
            (input); or ``all`` at once.
        replace: ``zero`` or ``mean``, as for :func:`bias_replacements`.
        batch_norm: ``effective`` or ``parameter``, as for :func:`bias_replacements`. Where a
            convolution with a bias comes before a batch-norm, its mean includes that bias.
        chunk_size: Pictures per forward pass; None bounds them by memory.

    Returns:
        The intact network and one variant a layer (``all``: one in all), on x's device. The layers
        are those that the first two pictures run through.

    Raises:
        MetricInputError: If no bias is used, an option is unknown, x is not floating point and
            ``(N, *features)``, the labels are not classes, or a variant's logits are not finite.

    Source:
        Ours. Hesse, Schaub-Meyer, Roth: Fast Axiomatic Attribution, NeurIPS 2021, also report
        top-5 accuracy without any bias, but of networks trained without (read: their
        ``train_alexnet_vgg.py -a xvgg16``), which is a milder test than ``order="all"`` here.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
        >>> model[0].weight.data, model[0].bias.data = torch.eye(2), torch.tensor([0.0, 5.0])
        >>> found = bias_removal(model, torch.tensor([[2.0, 1.0]]), torch.tensor([0]), order="all")
        >>> found.variants, found.rank
        (('none', 'all'), tensor([[2.],
                [1.]]))
    """
    if not x.is_floating_point() or x.ndim < 2 or 0 in x.shape:
        raise MetricInputError("x must be floating point and non-empty (N, *features).")
    if order not in get_args(RemovalOrder):
        options = get_args(RemovalOrder)
        raise MetricInputError(f"order={order!r} is unknown; choose one of {options}.")
    target = class_index(labels, len(x)).to(x.device)
    chunk = chunk_of(x, chunk_size)
    with torch.no_grad(), undisturbed(model):
        # two pictures, as a batch-norm without running statistics refuses a single one
        layers = bias_replacements(model, x[:2], replace=replace, batch_norm=batch_norm)
        variants, removed = _variants(tuple(layers), order)
        states = [_state(layers, row) for row in removed.tolist()]
        parts = [
            _standing(model, states, *rows)
            for rows in zip(torch.split(x, chunk), torch.split(target, chunk), strict=True)
        ]
    confidence, rank, predicted = (torch.cat(c, 1) for c in list(zip(*parts, strict=True))[:3])
    where, classes = x.device, parts[0][3]
    return BiasRemoval(
        tuple(layers),
        variants,
        removed.to(where),
        confidence.to(where),
        rank.to(where),
        predicted.to(where),
        classes,
    )


def _variants(names: tuple[str, ...], order: RemovalOrder) -> tuple[tuple[str, ...], Tensor]:
    """The variants' names and which layers ``(variants, layers)`` each of them replaces."""
    n = len(names)
    if order == "all":
        return (INTACT, "all"), torch.tensor([[False] * n, [True] * n])
    if order == "top":
        names = names[::-1]
    square = torch.ones(n, n, dtype=torch.bool)
    chosen = {"each": square.triu().tril(), "bottom": square.tril(), "top": square.tril().flip(1)}
    return (INTACT, *names), torch.cat([torch.zeros(1, n, dtype=torch.bool), chosen[order]])


def _state(layers: Mapping[str, Mapping[str, Tensor]], removed: list[bool]) -> dict[str, Tensor]:
    """The changed entries of one variant."""
    pairs = zip(layers.values(), removed, strict=True)
    return {key: value for entries, out in pairs if out for key, value in entries.items()}


def _run(model: nn.Module, state: dict[str, Tensor], x: Tensor) -> Tensor:
    out: Tensor = functional_call(model, state, (x,))
    return out


def _standing(
    model: nn.Module, states: list[dict[str, Tensor]], x: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Confidence, rank and prediction ``(variants, n)`` of some pictures, and the class count."""
    rows = []
    for state in states:
        changed = {**copied_buffers(model), **state}
        rows.append(logits(partial(_run, model, changed), x))
    out = torch.stack(rows)
    flat, repeated = out.flatten(0, 1), labels.repeat(len(out))
    confidence, rank = label_confidence(flat, repeated), label_rank(flat, repeated)
    shape = out.shape[:2]
    return confidence.view(shape), rank.view(shape), out.argmax(2), out.shape[2]
