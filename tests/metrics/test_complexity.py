"""Sparseness and entropy against Quantus, scipy and known maps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import quantus
import torch
from scipy.stats import entropy  # type: ignore[import-untyped]
from torch import Tensor

from biasmatters.metrics.complexity import ComplexityEntropy, Sparseness
from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.complexity import complexity_entropy, sparseness
from tests.metrics.oracle import shapes_case

FUNCTIONS: list[Callable[..., Tensor]] = [sparseness, complexity_entropy]


def some_maps(n: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    power = torch.linspace(0.2, 3, n, dtype=torch.float64).view(-1, 1, 1)
    maps = torch.randn(n, 7, 9, generator=generator, dtype=torch.float64)
    return maps.sign() * maps.abs() ** power


def test_equals_all_pairs_and_scipy() -> None:
    maps = some_maps()
    gini, nats = sparseness(maps), complexity_entropy(maps)
    for i in range(len(maps)):
        mass = maps[i].abs().flatten().numpy()
        # The mean absolute difference of all pairs, over twice the mean.
        pairs = np.abs(mass[:, None] - mass).mean() / (2 * mass.mean())
        assert float(gini[i]) == pytest.approx(pairs, abs=1e-12)
        assert float(nats[i]) == pytest.approx(entropy(mass), abs=1e-12)
    relative = complexity_entropy(maps, relative=True)
    torch.testing.assert_close(relative, nats / math.log(63))


@pytest.mark.parametrize("normalise", [False, True])
def test_equals_quantus(normalise: bool) -> None:
    # Quantus adds 1e-7 to every pixel, which maps of large values do not feel.
    maps = 10 + some_maps().abs()
    both = ((sparseness, quantus.Sparseness), (complexity_entropy, quantus.Complexity))
    for function, peer in both:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = peer(disable_warnings=True, normalise=normalise)(
                model=None,
                x_batch=np.zeros((20, 1, 7, 9)),
                y_batch=np.zeros(20, dtype=int),
                a_batch=maps.numpy()[:, None].copy(),
            )
        np.testing.assert_allclose(function(maps), wanted, atol=1e-6, rtol=0)


def test_known_maps() -> None:
    pixels = 64
    one = torch.zeros(1, 8, 8, dtype=torch.float64)
    one[0, 2, 3] = -4
    for maps, gini, nats in (
        (one, 1 - 1 / pixels, 0.0),
        (torch.full((1, 8, 8), -0.3).double(), 0.0, math.log(pixels)),
        (torch.zeros(1, 8, 8).double(), 0.0, math.log(pixels)),
    ):
        assert float(sparseness(maps)) == pytest.approx(gini, abs=1e-14)
        assert float(complexity_entropy(maps)) == pytest.approx(nats, abs=1e-14)
        assert bool((sparseness(maps) >= 0).all())
    half = torch.zeros(1, 8, 8)
    half[:, :4] = 2
    assert float(complexity_entropy(half).exp()) == pytest.approx(32, rel=1e-6)


def test_neither_scale_nor_sign_nor_place_matters() -> None:
    maps = some_maps()
    for function in FUNCTIONS:
        wanted = function(maps)
        for same in (-7 * maps, 1e-300 * maps, 1e300 * maps, maps.flip(2), maps[:, None]):
            torch.testing.assert_close(function(same), wanted)
        torch.testing.assert_close(function(torch.stack([3 * maps, -2 * maps], 1)), wanted)
        torch.testing.assert_close(function(maps[5:6]), wanted[5:6])
        assert function(maps.float()).dtype == torch.float32
        assert function(maps.half()).dtype == torch.float16
        assert function(torch.ones(1, 2, 2, dtype=torch.int64)).dtype == torch.float32


def test_a_shape_is_simpler_than_noise_which_is_simpler_than_nothing() -> None:
    case = shapes_case()
    flat = torch.ones_like(case.random)
    for function, sign in ((sparseness, 1), (complexity_entropy, -1)):
        best, middle, worst = (
            sign * function(maps) for maps in (case.masks.float(), case.random, flat)
        )
        assert float(best.mean()) > float(middle.mean()) + 0.1
        assert bool((middle > worst + 0.1).all())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.rand(3, 4), "maps have the shape"),
        (torch.rand(0, 4, 4), "maps have the shape"),
        (torch.full((3, 4, 4), torch.inf), "3 of 3 maps hold NaN"),
        (torch.rand(3, 4, 4, dtype=torch.complex64), "complex"),
    ],
)
def test_bad_input_is_refused(function: Callable[..., Tensor], maps: Tensor, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        function(maps)


def test_one_pixel() -> None:
    assert complexity_entropy(torch.ones(2, 1, 1)).tolist() == [0.0, 0.0]
    assert sparseness(torch.ones(2, 1, 1)).tolist() == [0.0, 0.0]
    with pytest.raises(MetricInputError, match="one pixel"):
        complexity_entropy(torch.ones(2, 1, 1), relative=True)


@pytest.mark.parametrize(
    ("metric", "function", "settings"),
    [
        (Sparseness, sparseness, {}),
        (ComplexityEntropy, complexity_entropy, {"relative": True}),
    ],
)
def test_classes_gather_what_the_functions_give(
    metric: Any, function: Callable[..., Tensor], settings: dict[str, Any]
) -> None:
    maps, gathers = some_maps(), metric(**settings)
    gathers.update(maps[:4])
    gathers.update(maps[4:])
    expected = function(maps, **settings)
    torch.testing.assert_close(gathers.per_image(), expected)
    torch.testing.assert_close(gathers.compute(), expected.mean())
