"""Pixel flipping against Quantus, and against a loop in numpy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics.functional import ConstantMapWarning, MetricInputError, deletion
from biasmatters.metrics.functional.pixel_flipping import morf_lerf_gap, pixel_flipping
from biasmatters.metrics.pixel_flipping import MorfLerfGap, PixelFlippingLerf, PixelFlippingMorf
from tests.metrics.oracle import shapes_case

SIDE = 8


@pytest.fixture
def quantus() -> Iterator[ModuleType]:
    """The library, with its warnings and its draws from the global generators kept to itself."""
    state = np.random.get_state()  # noqa: NPY002 - Quantus draws from it
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import quantus

        yield quantus
    np.random.set_state(state)  # noqa: NPY002


def network(channels: int) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)
    ).eval()


def pictures(channels: int, n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, channels, SIDE, SIDE, generator=generator)
    maps = torch.randn(n, channels, SIDE, SIDE, generator=generator)
    return x, maps, torch.arange(n) % 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 32])
@pytest.mark.parametrize("baseline", ["black", 0.0])
@pytest.mark.parametrize("softmax", [True, False])
def test_equals_quantus(
    quantus: ModuleType, channels: int, size: int, baseline: str | float, softmax: bool
) -> None:
    model, (x, maps, target) = network(channels), pictures(channels)
    metric = quantus.PixelFlipping(
        features_in_step=size, perturb_baseline=baseline, disable_warnings=True
    )
    data = {"x_batch": x.numpy(), "y_batch": target.numpy(), "a_batch": maps.numpy()}
    expected = metric(model=model, **data, softmax=softmax, channel_first=True)
    found = pixel_flipping(
        model,
        x,
        maps,
        target,
        features_per_step=size,
        together=False,
        baseline=x.amin((1, 2, 3), keepdim=True) if baseline == "black" else "zero",
        score="probability" if softmax else "logit",
    )
    np.testing.assert_allclose(found.scores[:, 1:], expected, atol=1e-5, rtol=0)


def test_equals_quantus_by_magnitude(quantus: ModuleType) -> None:
    model, (x, maps, target) = network(1), pictures(1)
    metric = quantus.PixelFlipping(
        features_in_step=8, abs=True, perturb_baseline=0.0, disable_warnings=True
    )
    data = {"x_batch": x.numpy(), "y_batch": target.numpy(), "a_batch": maps.numpy()}
    expected = metric(model=model, **data, softmax=True, channel_first=True)
    found = pixel_flipping(model, x, maps, target, features_per_step=8, order="absolute")
    np.testing.assert_allclose(found.scores[:, 1:], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("first", ["most", "least"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("size", [7, 50])
def test_equals_a_loop(first: str, together: bool, size: int) -> None:
    """Steps that do not divide the number of features: the last one takes what is left."""
    model, (x, maps, target) = network(3).double(), pictures(3)
    x, maps = x.double(), maps.double()
    found = pixel_flipping(
        model, x, maps, target, first=first, features_per_step=size, together=together
    )  # type: ignore[call-overload]
    for i in range(len(x)):
        left = x[i].numpy().copy()
        ranked = (maps[i].sum(0) if together else maps[i]).numpy().ravel()
        visits = np.argsort(ranked)[:: -1 if first == "most" else 1]
        scores = []
        for start in range(0, len(visits) + size, size):
            with torch.no_grad():
                out = model(torch.from_numpy(left)[None]).softmax(1)
            scores.append(float(out[0, target[i]]))
            for place in visits[start : start + size]:
                if together:
                    left.reshape(3, -1)[:, place] = 0
                else:
                    left.reshape(-1)[place] = 0
        np.testing.assert_allclose(found.scores[i], scores, atol=1e-12, rtol=0)
    features = 64 if together else 192
    taken = [min(j * size, features) / features for j in range(found.scores.shape[1])]
    np.testing.assert_allclose(found.fractions, taken)
    assert taken[-1] == 1 > taken[-2]


def test_steps_that_divide_are_deletion() -> None:
    model, (x, maps, _) = network(3), pictures(3)
    found, same = pixel_flipping(model, x, maps), deletion(model, x, maps, steps=32)
    assert torch.equal(found.scores, same.scores)
    assert torch.equal(found.auc, same.auc)


def test_least_first_is_the_order_backwards() -> None:
    model, (x, maps, _) = network(1), pictures(1)
    least = pixel_flipping(model, x, maps, first="least")
    assert torch.equal(least.scores, pixel_flipping(model, x, maps, order="negative").scores)
    # Also where all pixels tie, so that the two orders have no pixel in common half way.
    flat = torch.ones(5, SIDE, SIDE)
    sums = []
    for first in ("most", "least"):
        with pytest.warns(ConstantMapWarning):
            curve = pixel_flipping(
                lambda z: z.flatten(1).cumsum(1), x, flat, 63, first=first, score="logit"
            )  # type: ignore[call-overload]
        sums.append(curve.scores[:, 16])
    torch.testing.assert_close(sums[0] + sums[1], x.sum((1, 2, 3)))


def test_maps_without_channels_rank_all_of_a_pixel_alike() -> None:
    model, (x, maps, target) = network(3).double(), pictures(3)
    x, flat = x.double(), maps.sum(1).double()
    apart = pixel_flipping(model, x, flat, target, features_per_step=12, together=False)
    whole = pixel_flipping(model, x, flat, target, features_per_step=4)
    torch.testing.assert_close(apart.scores, whole.scores, atol=1e-12, rtol=0)


def test_the_gap_is_the_difference_of_areas() -> None:
    model, (x, maps, target) = network(3), pictures(3)
    how: dict[str, Any] = {"features_per_step": 9, "baseline": "mean", "order": "absolute"}
    least = pixel_flipping(model, x, maps, target, first="least", **how)
    most = pixel_flipping(model, x, maps, target, **how)
    assert torch.equal(morf_lerf_gap(model, x, maps, target, **how), least.auc - most.auc)


@pytest.mark.parametrize("chunk_size", [1, 3, 10_000])
def test_chunks_and_batches_change_nothing(chunk_size: int) -> None:
    model, (x, maps, _) = network(3).double(), pictures(3)
    x, maps = x.double(), maps.double().round()
    whole = pixel_flipping(model, x, maps, seed=4, baseline="noise")
    parts = pixel_flipping(model, x, maps, seed=4, baseline="noise", chunk_size=chunk_size)
    torch.testing.assert_close(whole.scores, parts.scores, atol=1e-12, rtol=0)
    assert parts.scores.dtype == torch.float64
    alone = pixel_flipping(model, x[2:3], maps[2:3], seed=4, baseline="noise")
    torch.testing.assert_close(whole.scores[2:3], alone.scores, atol=1e-12, rtol=0)


def test_oracle_beats_random_beats_anti_oracle() -> None:
    case = shapes_case()
    maps = (case.oracle, case.random, case.anti)
    gaps = [float(morf_lerf_gap(case.model, case.x, m, case.target).mean()) for m in maps]
    assert gaps[0] > gaps[1] + 0.05 > gaps[2] + 0.1
    most = [float(pixel_flipping(case.model, case.x, m).auc.mean()) for m in maps]
    assert most[0] + 0.05 < most[1] < most[2] - 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features_per_step": 0}, "features_per_step=0"),
        ({"features_per_step": 65}, "between 1 and 64"),
        ({"features_per_step": 193, "together": False}, "between 1 and 192"),
        ({"first": "last"}, "first='last'"),
        ({"order": "up"}, "order='up'"),
        ({"baseline": "blur"}, "11x11 blur does not fit"),
        ({"maps": torch.full((5, 8, 8), torch.nan)}, "5 of 5 maps hold NaN"),
        ({"maps": torch.rand(5, 2, 8, 8)}, "maps have the shape"),
        ({"x": torch.rand(5, 8, 8)}, "x has the shape"),
        ({"target": 4}, "outside 0..3"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    x, maps, _ = pictures(3)
    call: dict[str, Any] = {"model": network(3), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        pixel_flipping(**call)


def test_classes_gather_what_the_functions_give() -> None:
    model, (x, maps, target) = network(3), pictures(3)
    morf, lerf = PixelFlippingMorf(model, features_per_step=9), PixelFlippingLerf(model)
    gap = MorfLerfGap(model, score="logit")
    for metric in (morf, lerf, gap):
        metric.update(x[:2], maps[:2], target[:2])
        metric.update(x[2:], maps[2:], target[2:])
    most = pixel_flipping(model, x, maps, target, features_per_step=9)
    least = pixel_flipping(model, x, maps, target, first="least")
    torch.testing.assert_close(morf.compute(), most.auc.mean())
    torch.testing.assert_close(lerf.curve().scores, least.scores)
    figures = morf_lerf_gap(model, x, maps, target, score="logit")
    torch.testing.assert_close(gap.per_image(), figures)
    assert (morf.higher_is_better, lerf.higher_is_better, gap.higher_is_better) == (0, 1, 1)
