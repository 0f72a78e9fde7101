"""Likeness of maps against scipy, scikit-image and the code of Sixt et al."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from skimage.metrics import structural_similarity
from torch import Tensor

from biasmatters.metrics.functional import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.similarity import (
    Similarity,
    cosine,
    similarity_of,
    spearman,
    ssim,
)

Array = NDArray[np.float64]
NAMES: tuple[Similarity, ...] = ("spearman", "spearman_absolute", "ssim", "cosine")


def two_maps(n: int = 5, side: int = 13) -> tuple[Tensor, Tensor]:
    """Maps that have something in common."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, n, side, side, generator=generator, dtype=torch.float64)
    return a, a + b


def scaled(x: Array, percentile: float) -> Array:
    """``normalize_sanity`` of the authors: their vmin is the upper percentile."""
    vmin, vmax = np.percentile(x, percentile), np.percentile(x, 100 - percentile)
    return np.asarray(np.clip((x - vmin) / (vmax - vmin), 0, 1))


def numpy_ssim(x: Array, y: Array, percentile: float = 99.5, data_range: float = 2.0) -> float:
    """``ssim_flipped`` of the authors, with the data range of their scikit-image."""
    return max(
        float(
            structural_similarity(
                scaled(x, percentile), scaled(z, percentile), win_size=5, data_range=data_range
            )
        )
        for z in (y, -y)
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_spearman_is_scipys(ties: bool, signed: bool) -> None:
    a, b = two_maps()
    a, b = (a.round(), b.round()) if ties else (a, b)
    left, right = (a, b) if signed else (a.abs(), b.abs())
    expected = [spearmanr(p.flatten(), q.flatten())[0] for p, q in zip(left, right, strict=True)]
    np.testing.assert_allclose(spearman(a, b, signed=signed), expected, atol=1e-12, rtol=0)
    assert max(expected) < 0.9


@pytest.mark.parametrize("percentile", [99.5, 90.0, 100.0])
@pytest.mark.parametrize("data_range", [2.0, 1.0])
def test_ssim_is_that_of_sixt_in_numpy(percentile: float, data_range: float) -> None:
    a, b = two_maps()
    found = ssim(a, -b, percentile=percentile, data_range=data_range)
    expected = [
        numpy_ssim(p.numpy(), -q.numpy(), percentile, data_range) for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12, rtol=0)
    unflipped = ssim(a, -b, percentile=percentile, data_range=data_range, flip=False)
    assert bool((unflipped < found).all())


def test_ssim_of_maps_that_fill_the_range_is_scikit_images() -> None:
    a, b = (maps - maps.amin((1, 2), keepdim=True) for maps in two_maps())
    a, b = (maps / maps.amax((1, 2), keepdim=True) for maps in (a, b))
    found = ssim(1 - a, 1 - b, window=7, percentile=100, flip=False, data_range=1)
    for p, q, value in zip(a.numpy(), b.numpy(), found, strict=True):
        expected = structural_similarity(p, q, win_size=7, data_range=1)
        assert float(value) == pytest.approx(expected, abs=1e-12)


def test_cosine_in_numpy() -> None:
    a, b = two_maps()
    for p, q, value in zip(a.numpy(), b.numpy(), cosine(a, b), strict=True):
        expected = (p * q).sum() / np.sqrt((p * p).sum() * (q * q).sum())
        assert float(value) == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(cosine(1e-200 * a, b), cosine(a, b))


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_like_itself_and_unlike_noise(name: Similarity) -> None:
    compare, (a, b) = similarity_of(name), two_maps(side=16)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(8))
    same, near, far = compare(a, 3 * a), compare(a, b), compare(a, noise)
    assert same.tolist() == pytest.approx([1.0] * len(a), abs=1e-12)
    assert bool((same > near + 0.05).all())
    assert bool((near > far + 0.05).all())
    assert far.abs().max() < 0.5


def test_a_flipped_map_is_what_each_similarity_makes_of_it() -> None:
    a, _ = two_maps()
    found = {name: float(similarity_of(name)(a, -a).mean()) for name in NAMES}
    assert found["spearman"] == found["cosine"] == -1
    assert found["spearman_absolute"] == 1
    assert found["ssim"] == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_constant_maps_are_alike_and_unlike_any_other(name: Similarity) -> None:
    compare, (a, _) = similarity_of(name), two_maps(3)
    a[:2] = 0
    b = a.clone()
    b[0] = 0
    b[1] = two_maps(1)[0][0]
    with pytest.warns(ConstantMapWarning, match="2 of 3 pairs hold a constant map"):
        assert compare(a, b).tolist() == pytest.approx([1, 0, 1], abs=1e-12)


def test_constant_maps_of_two_levels() -> None:
    a = torch.full((1, 6, 6), 2.0)
    for compare in (spearman, ssim):
        with pytest.warns(ConstantMapWarning):
            assert compare(a, 3 * a).item() == 1
    assert cosine(a, 3 * a).item() == pytest.approx(1)


def test_a_map_whose_percentiles_coincide_is_scaled_by_its_extremes() -> None:
    a = torch.zeros(1, 20, 20)
    a[0, 9, 9] = 5
    assert ssim(a, a).item() == ssim(a, a, percentile=100).item() == 1
    b = a.roll(6, 2)
    assert ssim(a, b).item() == ssim(a, b, percentile=100).item() < 0.95


@pytest.mark.parametrize("name", NAMES)
def test_batch_dtype_and_channels(name: Similarity) -> None:
    compare, (a, b) = similarity_of(name), two_maps()
    whole = compare(a, b)
    assert whole.dtype == torch.float64
    assert torch.equal(whole[3:4], compare(a[3:4], b[3:4]))
    torch.testing.assert_close(whole, compare(a.float(), b.float()), atol=1e-6, rtol=0)
    colours = torch.stack([a - 1, torch.ones_like(a)], 1), torch.stack([b / 2, b / 2], 1)
    torch.testing.assert_close(whole, compare(*colours), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:, :6], "cannot be compared"),
        (lambda a: a[:0], "cannot be compared"),
        (lambda a: a.flatten(1), "cannot be compared"),
        (lambda a: a * torch.nan, "NaN or infinite"),
        (lambda a: a / 0, "NaN or infinite"),
        (lambda a: a + 1j, "complex"),
    ],
)
def test_bad_maps_are_refused(
    name: Similarity, change: Callable[[Tensor], Tensor], message: str
) -> None:
    a, b = two_maps()
    with pytest.raises(MetricInputError, match=message):
        similarity_of(name)(a, change(b))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 4}, "window=4 is even"),
        ({"window": 1}, "window=1 is not possible"),
        ({"window": 15}, "window=15 is not possible"),
        ({"percentile": 50}, "percentile=50"),
        ({"percentile": 101}, "percentile=101"),
        ({"data_range": 0}, "data_range=0"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        ssim(*two_maps(), **settings)  # type: ignore[arg-type]


def test_an_unknown_similarity_is_refused() -> None:
    with pytest.raises(MetricInputError, match=r"'pearson'. cannot be; choose from"):
        similarity_of("pearson")  # type: ignore[arg-type]
