"""Keep and remove against the authors' protocol, written again for one picture at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.keep_remove import FRACTIONS, keep_remove
from biasmatters.metrics.functional.substrate import wide_blur
from biasmatters.metrics.keep_remove import Keep, Remove
from tests.metrics.oracle import shapes_case

Array = NDArray[np.float64]
SIDE = 28
SIZE, SIGMA = 51, 41.0


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(216, 4)
    ).double()


def pictures(n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = 2 + torch.randn(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    maps = torch.randn(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    # Of one picture a tenth of the pixels is positive, of another almost all.
    shift = torch.tensor([0.0, -2.2, 3.0][:n], dtype=torch.float64)
    return x, maps + shift.view(-1, 1, 1, 1) / 3**0.5


def numpy_blur(picture: Array) -> Array:
    steps = np.arange(SIZE) - SIZE // 2
    kernel = np.exp(-((steps[:, None] / (2 * SIGMA)) ** 2) - (steps / (2 * SIGMA)) ** 2)
    padded = np.pad(picture, ((0, 0), (SIZE // 2,) * 2, (SIZE // 2,) * 2), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIZE, SIZE), axis=(1, 2))
    return np.asarray((windows * (kernel / kernel.sum())).sum((-2, -1)))


def shown_pixels(
    scores: Array, share: float, order: str, mode: str, positive_only: bool
) -> NDArray[np.bool_]:
    """Which pixels the authors leave as they are: the k largest, or smallest, that are positive."""
    turned = {"signed": scores, "negative": -scores, "absolute": np.abs(scores)}[order]
    positive = np.flatnonzero((turned > 0) | (not positive_only))
    by_size = positive[np.argsort(turned[positive])]
    k = min(int(share * scores.size), len(positive))
    chosen = by_size[len(by_size) - k :] if mode == "keep" else by_size[:k]
    shown = np.zeros(scores.size, dtype=bool)
    shown[chosen] = True
    return shown


@pytest.mark.parametrize("mode", ["keep", "remove"])
@pytest.mark.parametrize("order", ["signed", "negative", "absolute"])
@pytest.mark.parametrize("positive_only", [True, False])
def test_equals_the_protocol_in_numpy(mode: str, order: str, positive_only: bool) -> None:
    model, (x, maps) = network().eval(), pictures()
    score = "logit" if positive_only else "probability"
    how: Any = {"mode": mode, "order": order, "score": score, "positive_only": positive_only}
    found = keep_remove(model, x, maps, 2, **how)
    np.testing.assert_allclose(found.fractions, np.geomspace(0.01, 1, 16))
    for i in range(len(x)):
        picture, scores = x[i].numpy(), maps[i].numpy().sum(0).ravel()
        fill, expected = numpy_blur(picture), []
        for share in np.geomspace(0.01, 1, 16):
            shown = shown_pixels(scores, share, order, mode, positive_only).reshape(SIDE, SIDE)
            with torch.no_grad():
                out = model(torch.from_numpy(np.where(shown, picture, fill))[None])
            out = out.softmax(1) if score == "probability" else out
            expected.append(float(out[0, 2]))
        np.testing.assert_allclose(found.scores[i], expected, atol=1e-10, rtol=0)
        area = np.trapezoid(expected, np.geomspace(0.01, 1, 16)) / 0.99
        assert float(found.auc[i]) == pytest.approx(area)


def test_the_wide_blur() -> None:
    x, _ = pictures(2)
    np.testing.assert_allclose(wide_blur(x, SIZE, SIGMA)[1], numpy_blur(x[1].numpy()), atol=1e-12)
    flat = torch.full((1, 1, 26, 30), 3.0)
    torch.testing.assert_close(wide_blur(flat, SIZE, SIGMA), flat)


def test_a_map_without_positive_pixels_shows_none() -> None:
    model, (x, maps) = network(), pictures()
    fill = model.eval()(wide_blur(x, SIZE, SIGMA))[:, 1].detach()
    for mode in ("keep", "remove"):
        how: Any = {"mode": mode, "positive_only": True}
        found = keep_remove(model, x, -maps.sum(1).abs(), 1, **how)
        torch.testing.assert_close(found.scores, fill[:, None].expand(-1, 16))


def test_the_class_is_the_one_predicted_on_the_intact_picture() -> None:
    model, (x, maps) = network(), pictures()
    predicted = model.eval()(x).argmax(1)
    for how in ({}, {"positive_only": True}, {"fractions": [0.1, 0.2]}):
        found = keep_remove(model, x, maps, mode="remove", **how)  # type: ignore[arg-type]
        assert torch.equal(found.target, predicted)
    whole = keep_remove(model, x, maps).scores[:, -1]
    torch.testing.assert_close(whole, model(x).amax(1).detach())


def test_fractions_and_their_counts() -> None:
    seen: list[list[int]] = []

    def model(z: Tensor) -> Tensor:
        seen.append(z.flatten(1).sum(1).long().tolist())
        return z.flatten(1).sum(1, keepdim=True).expand(-1, 2)

    x, maps = torch.ones(1, 1, 10, 10), torch.rand(1, 10, 10) + 0.1
    found = keep_remove(model, x, maps, 0, fractions=[0, 0.29, 0.3, 0.999, 1], baseline="zero")
    assert seen == [[0, 29, 30, 99, 100]]
    torch.testing.assert_close(
        found.fractions.double(), torch.tensor([0, 0.29, 0.3, 0.999, 1]).double()
    )
    assert len(FRACTIONS) == 16
    assert FRACTIONS[0] == 0.01
    assert FRACTIONS[-1] == 1


@pytest.mark.parametrize("chunk_size", [1, 2, 10_000])
def test_chunks_and_batches_change_nothing(chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    maps = maps.round()
    whole = keep_remove(model, x, maps, mode="remove", seed=4)
    parts = keep_remove(model, x, maps, mode="remove", seed=4, chunk_size=chunk_size)
    torch.testing.assert_close(whole.scores, parts.scores, atol=1e-12, rtol=0)
    assert torch.equal(whole.target, model.eval()(x).argmax(1))
    alone = keep_remove(model, x[1:2], maps[1:2], mode="remove", seed=4)
    torch.testing.assert_close(whole.scores[1:2], alone.scores, atol=1e-12, rtol=0)
    other = keep_remove(model, x, maps, mode="remove", seed=5)
    assert not torch.equal(whole.scores, other.scores)


def test_a_baseline_takes_the_place_of_the_blur() -> None:
    model, (x, maps) = network(), pictures()
    found = keep_remove(model, x, maps, 1, baseline="mean", blur_size=4)
    by_tensor = keep_remove(model, x, maps, 1, baseline=x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(found.scores, by_tensor.scores)
    noisy = [keep_remove(model, x, maps, 1, baseline="noise", seed=s).scores for s in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])


def test_oracle_beats_random_beats_anti_oracle() -> None:
    case = shapes_case()
    how: dict[str, Any] = {"blur_size": 47, "score": "probability"}
    maps = (case.oracle, case.random, case.anti)
    keep = [float(keep_remove(case.model, case.x, m, **how).auc.mean()) for m in maps]
    assert keep[0] > keep[1] + 0.02 > keep[2] + 0.04
    drop = [
        float(keep_remove(case.model, case.x, m, mode="remove", **how).auc.mean()) for m in maps
    ]
    assert drop[0] + 0.02 < drop[1] < drop[2] - 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "drop"}, "mode='drop'"),
        ({"order": "up"}, "order='up'"),
        ({"fractions": [0.5]}, "two or more that rise"),
        ({"fractions": [0.5, 0.5]}, "two or more that rise"),
        ({"fractions": [0.5, 1.5]}, "two or more that rise"),
        ({"fractions": [-0.5, 1]}, "two or more that rise"),
        ({"fractions": [0.5, float("nan")]}, "two or more that rise"),
        ({"blur_size": 50}, "odd width"),
        ({"blur_sigma": 0.0}, "sigma > 0"),
        ({"blur_size": 57}, "blur_size of at most 55"),
        ({"baseline": "grey"}, "baseline='grey'"),
        ({"maps": torch.full((3, 28, 28), torch.nan)}, "3 of 3 maps hold NaN"),
        ({"x": torch.rand(3, 28, 28)}, "x has the shape"),
        ({"target": 4}, "outside 0..3"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    x, maps = pictures()
    call: dict[str, Any] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        keep_remove(**call)


def test_classes_gather_what_the_function_gives() -> None:
    model, (x, maps) = network(), pictures()
    keep, remove = Keep(model), Remove(model, order="absolute")
    for metric in (keep, remove):
        metric.update(x[:2], maps[:2])
        metric.update(x[2:], maps[2:])
    torch.testing.assert_close(keep.curve().scores, keep_remove(model, x, maps).scores)
    expected = keep_remove(model, x, maps, mode="remove", order="absolute")
    torch.testing.assert_close(remove.compute(), expected.auc.mean())
    assert (keep.higher_is_better, remove.higher_is_better) == (True, False)
