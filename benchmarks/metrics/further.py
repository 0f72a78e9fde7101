"""The metrics that are no plain curve: what each needs, and how it is called."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.metrics.case import Case, Work, calls
from benchmarks.metrics.scenes import Scene
from biasmatters.attribution import Gradient
from biasmatters.metrics.functional import (
    bias_removal,
    bias_suite,
    csc,
    infidelity,
    irof,
    max_sensitivity,
    pointing_game,
    random_logit,
    road,
    sensitivity_n,
)
from biasmatters.metrics.functional.explaining import Explain

SMALL, LARGE = "ResNet-18", "CNN"
FRACTIONS, SUBSETS, SAMPLES, SIDE, DRAWS = 9, 20, 10, 4, 5


def _road(scene: Scene) -> Work:
    return partial(road, scene.model, scene.x, scene.map)


def _irof(scene: Scene) -> Work:
    """With a grid of superpixels, so that finding them is not timed."""
    height, width = scene.x.shape[-2:]
    rows, columns = torch.arange(height) // SIDE, torch.arange(width) // SIDE
    grid = rows[:, None] * (-(-width // SIDE)) + columns
    return partial(
        irof, scene.model, scene.x, scene.map, segments=grid.expand(len(scene.x), -1, -1)
    )


def _pieces(scene: Scene) -> int:
    height, width = scene.x.shape[-2:]
    return -(-height // SIDE) * -(-width // SIDE)


def _sensitivity(scene: Scene) -> Work:
    return partial(sensitivity_n, scene.model, scene.x, scene.map, subsets=SUBSETS)


def _infidelity(scene: Scene) -> Work:
    return partial(infidelity, scene.model, scene.x, scene.map, samples=SUBSETS)


def _method(model: torch.nn.Module) -> Explain:
    gradient = Gradient(model)

    def explain(x: Tensor, target: Tensor) -> Tensor:
        found = gradient.explain(x, target).map
        return found if isinstance(found, Tensor) else found[0]

    return explain


def _stability(scene: Scene) -> Work:
    explain = _method(scene.model)
    return partial(max_sensitivity, explain, scene.x, None, scene.target, samples=SAMPLES)


def _logit(scene: Scene) -> Work:
    return partial(random_logit, scene.model, _method, scene.x, scene.target)


def _suite(scene: Scene) -> Work:
    return partial(bias_suite, scene.model, scene.x, scene.target)


def _removal(scene: Scene) -> Work:
    return partial(bias_removal, scene.model, scene.x, scene.target, order="all")


def _convergence(scene: Scene) -> Work:
    gradient, names = Gradient(scene.model), ["features.1", "input"]
    return partial(csc, gradient.descend, scene.x, "head.2", names, draws=DRAWS, positions=64)


def _pointing(scene: Scene) -> Work:
    masks = scene.maps["method 1"] > 1
    masks[:, 0, 0] = True
    return partial(pointing_game, scene.map, masks)


_ONE = calls(lambda _: [1])

CASES = (
    Case("ROAD", SMALL, calls(lambda _: [FRACTIONS, 1]), _road),
    Case("IROF, superpixels given", SMALL, calls(lambda s: [_pieces(s) + 1]), _irof),
    Case(f"sensitivity-n, {SUBSETS} subsets", SMALL, calls(lambda _: [1, SUBSETS]), _sensitivity),
    Case(f"infidelity, {SUBSETS} squares", SMALL, calls(lambda _: [SUBSETS + 1]), _infidelity),
    Case(f"max-sensitivity of the gradient, {SAMPLES} samples", SMALL,
         calls(lambda _: [1, SAMPLES]), _stability),
    Case("random logit of the gradient", SMALL,
         lambda scene: [1, len(scene.x), len(scene.x)], _logit),
    Case("bias ablation, all figures", LARGE, _ONE, _suite),
    Case("bias removal, all biases", LARGE, calls(lambda _: [2]), _removal,
         counted=False),
    Case(f"CSC of the gradient, {DRAWS} draws", LARGE, calls(lambda _: [DRAWS]), _convergence,
         counted=False),
    Case("pointing game", LARGE, _ONE, _pointing, counted=False),
)  # fmt: skip
