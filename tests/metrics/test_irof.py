"""IROF against a loop over pieces in numpy, and against Quantus on the same pieces."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import quantus
import torch
from numpy.typing import NDArray
from quantus.helpers import utils as quantus_utils
from skimage.segmentation import slic
from torch import Tensor, nn

from biasmatters.metrics.functional import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.irof import area_over, irof
from biasmatters.metrics.functional.superpixels import superpixels
from biasmatters.metrics.irof import Irof
from tests.metrics.oracle import shapes_case

Array = NDArray[np.float64]


def network(channels: int = 3, size: int = 12) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * size**2, 4),
    ).double()


def pictures(n: int = 5, channels: int = 3, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)


def columns(n: int, counts: list[int], size: int = 12) -> Tensor:
    """Pieces that are columns, their numbers with gaps, some below 0."""
    place = torch.arange(size)
    rows = [7 * (place * count // size) - 20 for count in counts]
    return torch.stack(rows)[:n, None].expand(n, size, size)


def numpy_irof(
    predict: Callable[[Array], Array], picture: Array, saliency: Array, pieces: NDArray[np.int64]
) -> Array:
    """Relative scores after every piece, one picture."""
    numbers = np.unique(pieces)
    means = np.array([saliency[pieces == number].mean() for number in numbers])
    chosen, left = int(predict(picture).argmax()), picture.copy()
    scores = [predict(left)[chosen]]
    for number in numbers[np.argsort(-means)]:
        for channel in range(len(picture)):
            left[channel][pieces == number] = picture[channel].mean()
        scores.append(predict(left)[chosen])
    return np.asarray(scores) / scores[0]


def test_equals_a_loop_over_pieces() -> None:
    model, (x, maps) = network().eval(), pictures()
    pieces = columns(5, [3, 12, 4, 1, 6])

    def predict(picture: Array) -> Array:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(picture)[None])[0].softmax(0))

    curve = irof(model, x, maps, segments=pieces, steps=24)
    for i in range(len(x)):
        scores = numpy_irof(predict, x[i].numpy(), maps[i].sum(0).numpy(), pieces[i].numpy())
        shares = np.linspace(0, 1, len(scores))
        expected = np.interp(np.linspace(0, 1, 25), shares, scores)
        np.testing.assert_allclose(curve.scores[i], expected, atol=1e-9)
        over = 1 - np.trapezoid(scores, shares)
        assert float(area_over(curve)[i]) == pytest.approx(over, abs=1e-9)


def test_area_differs_little_where_steps_do_not_divide() -> None:
    model, (x, maps) = network(), pictures()
    pieces = columns(5, [12] * 5)
    exact = irof(model, x, maps, segments=pieces, steps=12)
    near = irof(model, x, maps, segments=pieces, steps=50)
    torch.testing.assert_close(near.auc, exact.auc, atol=5e-3, rtol=0)
    assert not torch.equal(near.auc, exact.auc)


def test_equals_quantus_on_the_same_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantus leaves the intact point out, and counts one piece more than its trapezia span."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # gone from numpy 2.4
    model, (x, maps) = network(1).float().eval(), pictures(6, 1)
    x, maps = x.float(), maps.float()
    found = superpixels(x, 9)
    labels = torch.arange(6) % 4
    each = iter(found.numpy())
    monkeypatch.setattr(quantus_utils, "get_superpixel_segments", lambda **_: next(each))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = quantus.IROF(
            perturb_baseline=0.0, normalise=False, return_aggregate=False, disable_warnings=True
        )(
            model=model,
            x_batch=x.numpy(),
            y_batch=labels.numpy(),
            a_batch=maps.numpy(),
            softmax=True,
            channel_first=True,
            batch_size=1,
        )
    for i in range(6):
        one = slice(i, i + 1)
        count = int(found[i].max()) + 1
        assert count > 1
        curve = irof(
            model,
            x[one],
            maps[one],
            labels[one],
            segments=found[one],
            steps=count,
            baseline="zero",
        )
        ours = count * float(area_over(curve)) + (1 + float(curve.scores[0, 1])) / 2
        assert ours == pytest.approx(float(np.ravel(theirs[i])[0]), abs=1e-4)


def test_oracle_beats_random_beats_anti_oracle() -> None:
    case = shapes_case()
    pieces = superpixels(case.x, 50)
    best, middle, worst = (
        float(area_over(irof(case.model, case.x, maps, segments=pieces)).mean())
        for maps in (case.oracle, case.random, case.anti)
    )
    assert best > middle + 0.05
    assert middle > worst + 0.05


def test_orders() -> None:
    model, (x, maps) = network(), pictures()
    negative, negated = irof(model, x, maps, order="negative"), irof(model, x, -maps)
    torch.testing.assert_close(negative.scores, negated.scores)
    pieces = columns(5, [12] * 5)
    means = maps.sum(1).mean(1, keepdim=True).expand(5, 12, 12)
    absolute = irof(model, x, maps, segments=pieces, order="absolute")
    torch.testing.assert_close(absolute.scores, irof(model, x, means.abs(), segments=pieces).scores)
    assert not torch.allclose(absolute.scores, irof(model, x, means, segments=pieces).scores)


@pytest.mark.parametrize("chunk_size", [1, 4, 7, 1000])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    whole, parts = irof(model, x, maps), irof(model, x, maps, chunk_size=chunk_size)
    torch.testing.assert_close(whole.scores, parts.scores, atol=1e-12, rtol=0)


@pytest.mark.parametrize("segments", [20, columns(5, [3, 12, 4, 6, 2])])
def test_a_picture_scores_the_same_in_any_batch(segments: int | Tensor) -> None:
    model, (x, maps) = network(), pictures()
    ties = maps.sum(1)
    ties[3] = 0
    ties[3, :, :6] = 1
    own = segments if isinstance(segments, int) else segments[3:4]
    whole = irof(model, x, ties, segments=segments, seed=4)
    alone = irof(model, x[3:4], ties[3:4], segments=own, seed=4)
    torch.testing.assert_close(whole.scores[3:4], alone.scores, atol=1e-12, rtol=0)
    others = [irof(model, x, ties, segments=segments, seed=seed).scores[3] for seed in range(5)]
    assert any(not torch.allclose(whole.scores[3], other) for other in others)


def test_a_constant_map_is_a_seeded_random_order() -> None:
    model, (x, _) = network(), pictures()
    with pytest.warns(ConstantMapWarning, match="5 of 5 maps are constant"):
        first = irof(model, x, torch.zeros(5, 12, 12), seed=1)
    with pytest.warns(ConstantMapWarning):
        again = irof(model, x, torch.ones(5, 12, 12), seed=1)
    assert torch.equal(first.scores, again.scores)


def test_curves_start_at_1_and_end_without_the_picture() -> None:
    model, (x, maps) = network(), pictures()
    curve = irof(model, x, maps, steps=7)
    intact = model.eval()(x).softmax(1)
    blank = model(x.mean((2, 3), keepdim=True).expand_as(x)).softmax(1)
    chosen = intact.argmax(1, keepdim=True)
    assert torch.equal(curve.target, chosen[:, 0])
    assert curve.scores.shape == (5, 8)
    assert curve.scores[:, 0].tolist() == [1.0] * 5
    end = (blank / intact).gather(1, chosen)[:, 0].detach()
    torch.testing.assert_close(curve.scores[:, -1], end)


def test_the_model_and_the_global_generator_come_back_as_they_were() -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    irof(model, x, maps)
    assert [m.training for m in model.modules()] == [True, True, False, *[True] * 4]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.rand(5, 11, 12)}, "maps have the shape"),
        ({"maps": torch.full((5, 12, 12), torch.nan)}, "5 of 5 maps hold NaN"),
        ({"x": torch.rand(5, 432)}, "x has the shape"),
        ({"segments": 0}, "segments=0"),
        ({"segments": 145}, "segments=145"),
        ({"segments": torch.zeros(5, 12, 12)}, "integers"),
        ({"segments": torch.zeros(5, 12, 12).bool()}, "integers"),
        ({"segments": torch.zeros(12, 12).long()}, "integers"),
        ({"steps": 0}, "steps=0"),
        ({"order": "up"}, "order='up'"),
        ({"score": "loss"}, "score='loss'"),
        ({"baseline": "grey"}, "baseline='grey'"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"target": 4}, "outside 0..3"),
        ({"model": lambda x: x.flatten(1) * torch.nan}, "NaN or infinite logits"),
        ({"model": lambda x: -x.flatten(1).abs(), "score": "logit"}, "no score above 0"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    x, maps = pictures()
    call: dict[str, object] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        irof(**call)  # type: ignore[arg-type]


def test_the_class_gathers_what_the_function_gives() -> None:
    model, (x, maps) = network(), pictures()
    metric = Irof(model, segments=12, steps=6)
    metric.update(x[:3], maps[:3])
    metric.update(x[3:], maps[3:], None)
    expected = irof(model, x, maps, segments=12, steps=6)
    torch.testing.assert_close(metric.curve().scores, expected.scores)
    torch.testing.assert_close(metric.compute(), 1 - expected.auc.mean())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_superpixels_are_slic_numbered_from_0_in_any_batch(channels: int) -> None:
    x = shapes_case().x[:6].repeat(1, channels, 1, 1) * torch.linspace(1, 2, channels).view(
        -1, 1, 1
    )
    found = superpixels(x, 20)
    assert found.shape == (6, 24, 24)
    assert found.dtype == torch.int64
    assert torch.equal(found[4:5], superpixels(x[4:5], 20))
    assert torch.equal(found, superpixels(7 * x.double() - 3, 20))
    for picture, pieces in zip(x, found, strict=True):
        count = int(pieces.max()) + 1
        assert pieces.unique().tolist() == list(range(count))
        assert 6 <= count <= 40
        theirs = slic(
            picture.permute(1, 2, 0).double().numpy(),
            n_segments=20,
            compactness=10 if channels == 3 else 0.1,
            channel_axis=-1,
        )
        pairs = np.unique(np.stack([theirs.ravel(), pieces.numpy().ravel()]), axis=1)
        assert pairs.shape[1] == count


def test_superpixels_follow_the_shape() -> None:
    case = shapes_case()
    found = superpixels(case.x, 50)
    inside = [
        mask[pieces == pieces[mask].mode().values].float().mean()
        for mask, pieces in zip(case.masks, found, strict=True)
    ]
    assert float(torch.stack(inside).mean()) > 0.8


@pytest.mark.parametrize(("size", "count"), [((12, 12), 9), ((4, 20), 5), ((1, 9), 3), ((5, 1), 5)])
def test_an_even_picture_is_cut_into_a_grid(size: tuple[int, int], count: int) -> None:
    pieces = superpixels(torch.full((2, 1, *size), 0.3), count)[1]
    sizes = pieces.flatten().bincount()
    assert abs(len(sizes) - count) <= 1
    assert int(sizes.min()) > 0


def test_noise_that_slic_leaves_in_one_piece_is_cut_into_a_grid() -> None:
    x = pictures(3, 1, 16)[0]
    assert np.unique(slic(x[0, 0].numpy(), 4, compactness=0.1, channel_axis=None)).size == 1
    quarter = torch.arange(16) // 8
    expected = (2 * quarter[:, None] + quarter).expand(3, -1, -1)
    assert torch.equal(superpixels(x, 4), expected)
