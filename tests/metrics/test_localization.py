"""Scores against masks: plain loops, Quantus where the definitions meet, and known orders."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import quantus
import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.localization import (
    mass_in_mask,
    pointing_game,
    relevance_rank,
    top_k_iou,
)
from biasmatters.metrics.localization import MassInMask, PointingGame, RelevanceRank, TopKIoU
from tests.metrics.oracle import shapes_case

FUNCTIONS: list[Callable[..., Tensor]] = [pointing_game, mass_in_mask, relevance_rank, top_k_iou]
RANKED: list[Callable[..., Tensor]] = [pointing_game, relevance_rank, top_k_iou]


def case(n: int = 40, height: int = 7, width: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(n, height, width, generator=generator, dtype=torch.float64)
    masks = torch.rand(n, height, width, generator=generator) < torch.rand(
        n, 1, 1, generator=generator
    )
    masks[:, 3, 4] = True
    return maps, masks


def by_hand(values: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], k: int) -> dict[str, float]:
    """All scores of one picture, from sets of pixels."""
    pixels = [(i, j) for i in range(values.shape[0]) for j in range(values.shape[1])]
    order = sorted(pixels, key=lambda p: -values[p])
    inside = {p for p in pixels if mask[p]}
    near = min(math.dist(order[0], p) for p in inside)
    positive = {p: max(values[p], 0.0) for p in pixels}
    own, some = set(order[: len(inside)]), set(order[:k])
    return {
        "hit": float(order[0] in inside),
        "near": float(near <= 2),
        "positive": sum(positive[p] for p in inside) / sum(positive.values()),
        "absolute": sum(abs(values[p]) for p in inside) / sum(abs(values[p]) for p in pixels),
        "rank": len(own & inside) / len(inside),
        "iou": len(own & inside) / len(own | inside),
        "k": len(some & inside) / len(some | inside),
    }


def test_equals_sets_of_pixels() -> None:
    maps, masks = case()
    found = {
        "hit": pointing_game(maps, masks),
        "near": pointing_game(maps, masks, tolerance=2),
        "positive": mass_in_mask(maps, masks),
        "absolute": mass_in_mask(maps, masks, sign="absolute"),
        "rank": relevance_rank(maps, masks),
        "iou": top_k_iou(maps, masks),
        "k": top_k_iou(maps, masks, k=11),
    }
    for i in range(len(maps)):
        wanted = by_hand(maps[i].numpy(), masks[i].numpy(), 11)
        assert {k: float(v[i]) for k, v in found.items()} == pytest.approx(wanted, abs=1e-12)
    assert 0 < float(found["hit"].mean()) < float(found["near"].mean())


def scored(metric: Any, maps: Tensor, masks: Tensor) -> np.ndarray[Any, Any]:
    """What Quantus gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(
            model=None,
            x_batch=np.zeros((len(maps), 1, *maps.shape[1:])),
            y_batch=np.zeros(len(maps), dtype=int),
            a_batch=maps.numpy()[:, None].copy(),
            s_batch=masks.numpy()[:, None],
        )
    return np.asarray(found, dtype=float)


def test_equals_quantus_where_the_definitions_meet() -> None:
    maps, masks = case()
    quiet = {"disable_warnings": True, "normalise": False, "abs": False}
    size = masks.flatten(1).sum(1).numpy()
    np.testing.assert_allclose(
        pointing_game(maps, masks), scored(quantus.PointingGame(**quiet), maps, masks)
    )
    np.testing.assert_allclose(
        relevance_rank(maps, masks), scored(quantus.RelevanceRankAccuracy(**quiet), maps, masks)
    )
    mass = quantus.RelevanceMassAccuracy(**quiet)
    np.testing.assert_allclose(
        mass_in_mask(maps, masks, sign="absolute"), scored(mass, maps.abs(), masks), atol=1e-12
    )
    np.testing.assert_allclose(
        mass_in_mask(maps, masks), scored(mass, maps.clamp(min=0), masks), atol=1e-12
    )
    # Quantus gives the intersection over k.
    meet = 11 * scored(quantus.TopKIntersection(k=11, **quiet), maps, masks)
    np.testing.assert_allclose(top_k_iou(maps, masks, k=11), meet / (11 + size - meet))


def test_distances_are_euclidean_and_cross_no_border() -> None:
    maps = torch.zeros(1, 6, 8)
    maps[0, 2, 0] = 1
    masks = torch.zeros(1, 6, 8, dtype=torch.bool)
    masks[0, 1, 7] = True
    # In reading order the two pixels are neighbours.
    for tolerance, hit in ((1.0, 0.0), (7.07, 0.0), (7.08, 1.0)):
        assert pointing_game(maps, masks, tolerance=tolerance).tolist() == [hit]
    masks[0, 5, 4] = True
    assert pointing_game(maps, masks, tolerance=5).tolist() == [1.0]
    assert pointing_game(maps, masks, tolerance=4.99).tolist() == [0.0]


def test_orders() -> None:
    maps, masks = case()
    for function in RANKED:
        kept = function(maps, masks, order="absolute")
        torch.testing.assert_close(kept, function(maps.abs(), masks))
        torch.testing.assert_close(function(maps, masks, order="negative"), function(-maps, masks))
        assert not torch.equal(kept, function(maps, masks))


def test_oracle_beats_random_beats_anti_oracle() -> None:
    shapes = shapes_case()
    for function in FUNCTIONS:
        best, middle, worst = (
            float(function(maps, shapes.masks).mean())
            for maps in (shapes.oracle, shapes.random, shapes.anti)
        )
        assert best > middle + 0.1
        assert middle > worst + 0.05
        if function is not mass_in_mask:
            assert (best, worst) == (1.0, 0.0)
    share = shapes.masks.double().mean((1, 2))
    for function in (mass_in_mask, relevance_rank):
        gap = function(shapes.random.double(), shapes.masks) - share
        assert abs(float(gap.mean())) < 0.02


def test_a_constant_map_is_a_seeded_random_order() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    for function in RANKED:
        found = []
        for seed in range(60):
            with pytest.warns(ConstantMapWarning, match="1 of 1 maps are constant"):
                found.append(float(function(torch.zeros(1, 8, 8), masks, seed=seed)))
        assert abs(np.mean(found) - (1 / 3 if function is top_k_iou else 1 / 2)) < 0.15
        assert len(set(found)) > 1


def test_mass_of_maps_without_mass() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[:, 0] = True
    maps = torch.stack([torch.zeros(4, 4), -torch.ones(4, 4), torch.full((4, 4), 3e38)])
    assert mass_in_mask(maps, masks).tolist() == [0.0, 0.0, 0.25]
    assert mass_in_mask(maps, masks, sign="absolute").tolist() == [0.0, 0.25, 0.25]


def test_channels_are_summed_and_pictures_stand_alone() -> None:
    maps, masks = case()
    split = torch.stack([3 * maps, -2 * maps], 1)
    for function in FUNCTIONS:
        whole = function(maps, masks)
        torch.testing.assert_close(function(split, masks), whole)
        torch.testing.assert_close(function(maps[5:6], masks[5:6]), whole[5:6])
        assert whole.dtype == torch.float64
        assert function(maps.float(), masks).dtype == torch.float32
        assert function((9 * maps).int(), masks).dtype == torch.float32


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": torch.ones(40, 9, 7, dtype=torch.bool)}, "masks have the shape"),
        ({"masks": torch.ones(40, 1, 7, 9, dtype=torch.bool)}, "masks have the shape"),
        ({"masks": torch.ones(40, 7, 9)}, "the dtype torch.float32"),
        ({"masks": torch.zeros(40, 7, 9, dtype=torch.bool)}, "40 of 40 masks are empty"),
        ({"maps": torch.rand(40, 63)}, "maps have the shape"),
        ({"maps": torch.rand(0, 7, 9)}, "maps have the shape"),
        ({"maps": torch.full((40, 7, 9), torch.nan)}, "40 of 40 maps hold NaN"),
        ({"maps": torch.rand(40, 7, 9, dtype=torch.complex64)}, "complex"),
    ],
)
def test_bad_input_is_refused(
    function: Callable[..., Tensor], change: dict[str, Any], message: str
) -> None:
    maps, masks = case()
    with pytest.raises(MetricInputError, match=message):
        function(**{"maps": maps, "masks": masks, **change})


def test_bad_settings_are_refused() -> None:
    maps, masks = case()
    for k in (0, 64):
        with pytest.raises(MetricInputError, match=f"k={k}"):
            top_k_iou(maps, masks, k=k)
    with pytest.raises(MetricInputError, match="tolerance=-1"):
        pointing_game(maps, masks, tolerance=-1)
    with pytest.raises(MetricInputError, match="sign='both'"):
        mass_in_mask(maps, masks, sign="both")  # type: ignore[arg-type]
    with pytest.raises(MetricInputError, match="order='up'"):
        relevance_rank(maps, masks, order="up")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "function", "settings"),
    [
        (PointingGame, pointing_game, {"tolerance": 2}),
        (MassInMask, mass_in_mask, {"sign": "absolute"}),
        (RelevanceRank, relevance_rank, {"order": "absolute"}),
        (TopKIoU, top_k_iou, {"k": 9}),
    ],
)
def test_classes_gather_what_the_functions_give(
    metric: Any, function: Callable[..., Tensor], settings: dict[str, Any]
) -> None:
    maps, masks = case()
    gathers = metric(**settings)
    gathers.update(maps[:4], masks[:4])
    gathers.update(maps[4:], masks[4:])
    expected = function(maps, masks, **settings)
    torch.testing.assert_close(gathers.per_image(), expected)
    torch.testing.assert_close(gathers.compute(), expected.mean())
