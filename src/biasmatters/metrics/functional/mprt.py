"""Do maps change when the network forgets what it learned?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biasmatters.metrics.functional._checks import MetricInputError, check_images
from biasmatters.metrics.functional.asking import asked_class, asked_maps
from biasmatters.metrics.functional.explaining import Method
from biasmatters.metrics.functional.following import chunk_of
from biasmatters.metrics.functional.randomization import (
    LayerOrder,
    intact_copy,
    layer_steps,
    randomized,
)
from biasmatters.metrics.functional.similarity import Similarity, check_similarities, similarity_of


@dataclass(frozen=True)
class ParameterRandomization:
    """How alike the maps of a network and of its randomised copies are.

    Attributes:
        layers: Names of the layers, in the order in which they were randomised.
        scores: By similarity ``(N, layers)``, that of the intact map and of the map once the
            layer is random; low means that the method looks at the weights.
        target: ``(N,)`` the class that was explained.
    """

    layers: tuple[str, ...]
    scores: dict[Similarity, Tensor]
    target: Tensor

    @property
    def mean(self) -> dict[Similarity, Tensor]:
        """By similarity ``(N,)``, the mean over the layers."""
        return {name: scores.mean(1) for name, scores in self.scores.items()}

    def at(self, name: Similarity, layer: str) -> Tensor:
        """``(N,)``, one similarity once that layer is random."""
        return self.scores[name][:, self.layers.index(layer)]

    def per_image(self) -> dict[str, Tensor]:
        """``(N,)`` each: ``spearman`` is the mean over the layers, ``spearman/fc`` that of one."""
        figures: dict[str, Tensor] = {}
        for name, mean in self.mean.items():
            figures[name] = mean
            figures |= {f"{name}/{layer}": self.at(name, layer) for layer in self.layers}
        return figures


def mprt(
    model: nn.Module,
    method: Method,
    x: Tensor,
    target: int | Tensor | None = None,
    *,
    order: LayerOrder = "cascading",
    layers: Sequence[str] | None = None,
    similarities: Sequence[Similarity] = ("spearman", "spearman_absolute", "ssim"),
    seed: int = 0,
    chunk_size: int | None = None,
) -> ParameterRandomization:
    """Compare maps before and after the layers' weights are drawn anew.

    score_l = similarity(map of the model randomised up to layer l, map of the intact model), for
    the same class. A map that shows what the network learned changes: low is better, and 1 is the
    score of an edge detector. How a layer is randomised, batch-norm too, is said at
    :func:`~biasmatters.metrics.functional.randomization.randomized`. A method that draws at random
    should do so from a seed, or its own noise lowers the score.

    Args:
        model: Copied; the copies are explained in eval mode, the model itself is never run.
        method: Binds the method to a model. It is bound anew for every layer.
        x: ``(N, C, H, W)`` pictures in the network's input space.
        target: Class explained, one or ``(N,)``; None is the class that the intact model predicts.
        order: ``cascading`` randomises from the output side down and keeps what is random,
            ``bottom_up`` from the input side up, ``independent`` each layer alone.
        layers: Names from the output side down, a block standing for all that it holds; None is
            every module that can be reset, in the reverse of the order of registration.
        similarities: ``spearman`` (signed ranks), ``spearman_absolute``, ``ssim``, ``cosine``. The
            verdict can flip between the signed and the absolute ranks: report both.
        seed: Of the random weights, which are the same for every picture.
        chunk_size: Pictures explained at a time; None bounds them by memory.

    Returns:
        The scores of every picture, layer and similarity, float64 on x's device.

    Raises:
        MetricInputError: For settings, shapes or layers that cannot be, a layer that does not
            randomise, or maps that are not finite.

    Source:
        Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018; for SSIM, Sixt, Granz,
        Landgraf, ICML 2020.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        >>> weights = lambda net: lambda x, target: net[1].weight[target].view_as(x)
        >>> picture = lambda net: lambda x, target: x
        >>> x = torch.randn(4, 1, 6, 6)
        >>> good, bad = mprt(model, weights, x), mprt(model, picture, x)
        >>> good.layers, bool((good.mean["spearman"] < 0.9).all()), bad.mean["spearman"].tolist()
        (('1',), True, [1.0, 1.0, 1.0, 1.0])
    """
    check_images(x)
    check_similarities(similarities)
    chunk = chunk_of(x, chunk_size)
    steps = layer_steps(model, layers, order)
    chosen, intact = _intact(model, method, x, target, chunk)
    columns: dict[Similarity, list[Tensor]] = {name: [] for name in similarities}
    for layer, copy in randomized(model, steps, alone=order == "independent", seed=seed):
        try:
            maps = asked_maps(method(copy), x, chosen, chunk)
        except MetricInputError as error:
            error.add_note(f"This came up once the layer {layer!r} was random.")
            raise
        for name, column in columns.items():
            column.append(similarity_of(name)(maps, intact))
    scores = {name: torch.stack(column, 1) for name, column in columns.items()}
    return ParameterRandomization(tuple(steps), scores, chosen)


def _intact(
    model: nn.Module, method: Method, x: Tensor, target: int | Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """The classes explained and their maps; the copy that they come from ends here."""
    copy = intact_copy(model)
    chosen, _ = asked_class(copy, x, target, chunk)
    return chosen, asked_maps(method(copy), x, chosen, chunk)
