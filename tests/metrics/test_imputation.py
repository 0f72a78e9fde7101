"""Filled pixels against a dense solve written from the definition, and against Quantus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from quantus.functions.perturb_func import noisy_linear_imputation as quantus_imputation
from scipy.sparse import coo_matrix, diags  # type: ignore[import-untyped]
from scipy.sparse.linalg import spsolve  # type: ignore[import-untyped]
from torch import Tensor

from biasmatters.metrics.functional import MetricInputError, imputation
from biasmatters.metrics.functional.imputation import noisy_linear_imputation

Array = NDArray[np.float64]
SIZES = [(12, 12), (13, 10), (7, 21), (5, 5), (6, 3), (2, 2), (1, 30), (30, 1), (1, 2)]


def numpy_filled(picture: Array, removed: NDArray[np.bool_]) -> Array:
    """Pixel by pixel: one equation each, then one dense solve."""
    channels, height, width = picture.shape
    matrix, right = np.eye(height * width), np.zeros((height * width, channels))
    for i in range(height):
        for j in range(width):
            row = i * width + j
            right[row] = picture[:, i, j]
            if not removed[i, j]:
                continue
            right[row] = 0
            near = [
                (k, m, 1 / 6 if k == i or m == j else 1 / 12)
                for k in (i - 1, i, i + 1)
                for m in (j - 1, j, j + 1)
                if (k, m) != (i, j) and 0 <= k < height and 0 <= m < width
            ]
            total = sum(weight for _, _, weight in near)
            for k, m, weight in near:
                matrix[row, k * width + m] -= weight / total
    return np.asarray(np.linalg.solve(matrix, right).T.reshape(picture.shape))


def pictures(n: int, *size: int, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, channels, *size, generator=generator, dtype=torch.float64)


def masks(n: int, height: int, width: int, share: float) -> Tensor:
    """Scattered, and grown from one side; at least one pixel is kept and one removed."""
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(n, height * width, generator=generator)
    order[::2] = torch.linspace(0, 1, height * width)
    count = min(max(1, round(share * height * width)), height * width - 1)
    removed = order.argsort(1).argsort(1) < count
    return removed.view(n, height, width)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_dense_solve(size: tuple[int, int], share: float) -> None:
    x, removed = pictures(4, *size), masks(4, *size, share)
    for dtype in (torch.float64, torch.float32):
        found = noisy_linear_imputation(x.to(dtype), removed, noise=0)
        assert found.dtype == dtype
        for i in range(len(x)):
            expected = numpy_filled(x[i].numpy(), removed[i].numpy())
            np.testing.assert_allclose(found[i], expected, atol=1e-6, rtol=0)


def sparse_filled(picture: Array, removed: NDArray[np.bool_]) -> Array:
    channels, height, width = picture.shape
    number = np.arange(height * width).reshape(height, width)
    ends: list[tuple[Array, Array, Array]] = []
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if (down, across) == (0, 0):
                continue
            here = number[max(0, -down) : height - max(0, down)]
            there = number[max(0, down) : height + min(0, down)]
            here = here[:, max(0, -across) : width - max(0, across)].ravel()
            there = there[:, max(0, across) : width + min(0, across)].ravel()
            ends.append((here, there, np.full(len(here), 1 / 12 if down and across else 1 / 6)))
    rows, columns, weights = (np.concatenate(part) for part in zip(*ends, strict=True))
    weight = coo_matrix((weights, (rows, columns)), shape=(number.size, number.size)).tocsr()
    system = (diags(np.asarray(weight.sum(1)).ravel()) - weight).tocsr()
    values, gap = picture.reshape(channels, -1).T.copy(), removed.ravel()
    known = weight[gap][:, ~gap] @ values[~gap]
    values[gap] = spsolve(system[gap][:, gap].tocsc(), known).reshape(-1, channels)
    return values.T.reshape(picture.shape)


def hard_masks(height: int, width: int) -> Tensor:
    """What multigrid could stumble over: far from every known pixel, thin, or in pieces."""
    full, none = torch.ones(height, width, dtype=torch.bool), torch.zeros(height, width).bool()
    corner, cross, lone, lines, pairs, stripes = (
        full.clone(),
        full.clone(),
        none.clone(),
        none.clone(),
        none.clone(),
        full.clone(),
    )
    corner[0, 0] = False
    cross[height // 3] = cross[:, width // 2] = False
    lone[1::2, 1::2] = True
    lines[:, 1::2] = True
    pairs[::3, ::3] = pairs[1::3, ::3] = True
    stripes[:, ::7] = False
    return torch.stack([corner, cross, lone, lines, pairs, stripes, none])


def test_few_steps_reach_a_sparse_solve_on_large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation, "MOST_STEPS", 16)
    removed = hard_masks(70, 97)
    x = pictures(len(removed), 70, 97) * torch.tensor([1.0, 255.0]).view(2, 1, 1)
    found = noisy_linear_imputation(x, removed, noise=0)
    for i in range(len(x)):
        expected = sparse_filled(x[i].numpy(), removed[i].numpy()) if removed[i].any() else x[i]
        np.testing.assert_allclose(found[i, 0], expected[0], atol=1e-7, rtol=0)
        np.testing.assert_allclose(found[i, 1], expected[1], atol=255e-7, rtol=0)


def test_equals_quantus() -> None:
    x, removed = pictures(4, 11, 14, channels=3), masks(4, 11, 14, 0.5)
    found = noisy_linear_imputation(x, removed, noise=0)
    for i in range(len(x)):
        gone = removed[i].flatten().nonzero().flatten().numpy()
        np.testing.assert_allclose(
            found[i], quantus_imputation(x[i].numpy(), gone, noise=0), atol=1e-7
        )


def test_known_pixels_stay_and_filled_ones_lie_between_them() -> None:
    x, removed = pictures(6, 15, 15).float(), masks(6, 15, 15, 0.7)
    found = noisy_linear_imputation(x, removed, noise=0)
    gap = removed[:, None].expand_as(x)
    assert torch.equal(found[~gap], x[~gap])
    for i in range(len(x)):
        for channel in range(2):
            known = x[i, channel][~removed[i]]
            filled = found[i, channel][removed[i]]
            assert known.min() <= filled.min()
            assert filled.max() <= known.max()


def test_scale_and_origin_of_each_channel_go_through() -> None:
    x, removed = pictures(4, 12, 12), masks(4, 12, 12, 0.6)
    scale, origin = (
        torch.tensor(v, dtype=torch.float64).view(2, 1, 1) for v in ([1e-60, 1e60], [0.0, -1e61])
    )
    moved = noisy_linear_imputation(x * scale + origin, removed, noise=0)
    expected = noisy_linear_imputation(x, removed, noise=0)
    torch.testing.assert_close((moved - origin) / scale, expected, atol=1e-7, rtol=0)


def test_an_even_picture_stays_even() -> None:
    x = torch.full((2, 3, 9, 8), 0.1)
    filled = noisy_linear_imputation(x, masks(2, 9, 8, 0.9), noise=0)
    torch.testing.assert_close(filled, x, atol=1e-7, rtol=0)


@pytest.mark.parametrize("block", [1, 1000, 10**9])
def test_a_picture_is_filled_the_same_in_any_batch(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, removed = pictures(8, 16, 16), masks(8, 16, 16, 0.5)
    removed[3] = masks(1, 16, 16, 0.05)
    whole = noisy_linear_imputation(x, removed, seed=2)
    monkeypatch.setitem(imputation.VALUES_PER_BLOCK, "cpu", block)
    torch.testing.assert_close(
        noisy_linear_imputation(x, removed, seed=2), whole, atol=1e-7, rtol=0
    )
    alone = noisy_linear_imputation(x[3:4], removed[3:4], seed=2)
    torch.testing.assert_close(alone, whole[3:4], atol=1e-7, rtol=0)


def test_noise_has_its_deviation_and_is_one_field_for_all_pictures() -> None:
    x = pictures(2, 60, 60, channels=3)
    removed = masks(1, 60, 60, 0.5).expand(2, -1, -1)
    state = torch.get_rng_state()
    bare = noisy_linear_imputation(x, removed, noise=0)
    noise = noisy_linear_imputation(x, removed, noise=0.5, seed=3) - bare
    assert torch.equal(torch.get_rng_state(), state)
    assert float(noise[:, :, ~removed[0]].abs().max()) == 0
    assert float(noise[0][:, removed[0]].std()) == pytest.approx(0.5, rel=0.05)
    torch.testing.assert_close(noise[0], noise[1], atol=1e-12, rtol=0)
    assert not torch.allclose(noise[0, 0], noise[0, 1], atol=0.1)
    torch.testing.assert_close(
        noisy_linear_imputation(x.float(), removed, noise=0.5, seed=3).double(),
        bare + noise,
        atol=1e-6,
        rtol=0,
    )
    other = noisy_linear_imputation(x, removed, noise=0.5, seed=4)
    assert not torch.allclose(other, bare + noise, atol=0.1)


def test_noise_of_each_channel() -> None:
    x, removed = pictures(1, 40, 40), masks(1, 40, 40, 0.5)
    bare = noisy_linear_imputation(x, removed, noise=0)
    noise = noisy_linear_imputation(x, removed, noise=torch.tensor([0.0, 2.0])) - bare
    assert float(noise[:, 0].abs().max()) == 0
    assert float(noise[0, 1][removed[0]].std()) == pytest.approx(2, rel=0.1)


def test_pictures_that_want_gradients_give_none() -> None:
    x = pictures(1, 6, 6).requires_grad_()
    assert not noisy_linear_imputation(x, masks(1, 6, 6, 0.5)).requires_grad


def test_too_few_steps_are_an_error_and_no_silent_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation, "MOST_STEPS", 1)
    with pytest.raises(MetricInputError, match="could not be filled in 1 steps"):
        noisy_linear_imputation(pictures(1, 16, 16), masks(1, 16, 16, 0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, m: {"removed": torch.ones_like(m)}, "4 of 4 pictures lose every pixel"),
        (lambda x, m: {"removed": m.float()}, "removed is torch.float32"),
        (lambda x, m: {"removed": m[:3]}, "need a bool mask"),
        (lambda x, m: {"removed": m[:, None]}, "need a bool mask"),
        (lambda x, m: {"x": x[0]}, "x has the shape"),
        (lambda x, m: {"x": x.long()}, "floating point"),
        (lambda x, m: {"x": x * torch.nan}, "NaN or infinite pixels"),
        (lambda x, m: {"noise": -1.0}, "at least 0"),
        (lambda x, m: {"noise": float("nan")}, "finite"),
        (lambda x, m: {"noise": torch.ones(3)}, "one number or 2"),
    ],
)
def test_bad_input_is_refused(
    change: Callable[[Tensor, Tensor], dict[str, object]], message: str
) -> None:
    x, removed = pictures(4, 6, 7), masks(4, 6, 7, 0.5)
    call: dict[str, object] = {"x": x, "removed": removed, **change(x, removed)}
    with pytest.raises(MetricInputError, match=message):
        noisy_linear_imputation(**call)  # type: ignore[arg-type]
