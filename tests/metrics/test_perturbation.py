"""Deletion and insertion against RISE's definition, written again in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor, nn

from biasmatters.metrics import Deletion, Insertion
from biasmatters.metrics.functional import (
    ConstantMapWarning,
    Curve,
    MetricInputError,
    blur,
    deletion,
    insertion,
    replacing,
)
from biasmatters.metrics.functional.substrate import noise

Array = NDArray[np.float64]
METRICS = {"deletion": deletion, "insertion": insertion}


def network(channels: int = 3, size: int = 14) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * (size // 2) ** 2, 5),
    ).double()


def pictures(n: int = 6, channels: int = 3, size: int = 14) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)
    maps = torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)
    return x, maps


def numpy_blur(picture: Array) -> Array:
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = gaussian_filter(impulse, 5)
    padded = np.pad(picture, ((0, 0), (5, 5), (5, 5)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(1, 2))
    return np.asarray((windows * kernel).sum((-2, -1)))


def numpy_rise(
    predict: Callable[[Array], Array], picture: Array, saliency: Array, mode: str, step: int
) -> tuple[Array, float]:
    """One picture, one pixel block at a time, as RISE's ``CausalMetric.single_run``."""
    blank = np.zeros_like(picture) if mode == "deletion" else numpy_blur(picture)
    start, finish = (picture, blank) if mode == "deletion" else (blank, picture)
    start, finish = start.reshape(len(picture), -1).copy(), finish.reshape(len(picture), -1)
    chosen = int(predict(picture).argmax())
    visits = np.argsort(-saliency.reshape(-1))
    scores = []
    for i in range(saliency.size // step + 1):
        logits = predict(start.reshape(picture.shape))
        share = np.exp(logits - logits.max())
        scores.append(share[chosen] / share.sum())
        start[:, visits[i * step : (i + 1) * step]] = finish[:, visits[i * step : (i + 1) * step]]
    values = np.asarray(scores)
    area = (values.sum() - values[0] / 2 - values[-1] / 2) / (len(values) - 1)
    return values, float(area)


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
@pytest.mark.parametrize("steps", [7, 28, 196])
def test_equals_rise_in_numpy(mode: str, steps: int) -> None:
    model, (x, maps) = network().eval(), pictures(3)

    def predict(picture: Array) -> Array:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(picture)[None])[0])

    curve = METRICS[mode](model, x, maps, steps=steps)
    for i in range(len(x)):
        saliency = maps[i].sum(0).numpy()
        scores, area = numpy_rise(predict, x[i].numpy(), saliency, mode, 196 // steps)
        np.testing.assert_allclose(curve.scores[i], scores, atol=1e-6, rtol=0)
        assert float(curve.auc[i]) == pytest.approx(area, abs=1e-6)


def test_blur_is_rises_kernel() -> None:
    x, _ = pictures(2)
    np.testing.assert_allclose(blur(x)[1], numpy_blur(x[1].numpy()), atol=1e-12)


def decisive() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model whose logit 0 is a known sum of pixels: the oracle map is w * x."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.rand(144, generator=generator) ** 4
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    model[1].weight.data = torch.stack([weight, torch.zeros_like(weight)])
    model[1].bias.data = torch.tensor([-0.3 * float(weight.sum()), 0.0])
    x = 0.5 + 0.5 * torch.rand(8, 1, 12, 12, generator=generator)
    return model, x, weight.view(1, 1, 12, 12) * x


def test_oracle_beats_random_beats_anti_oracle() -> None:
    model, x, oracle = decisive()
    noise = torch.rand(oracle.shape, generator=torch.Generator().manual_seed(0))
    for metric, sign in ((deletion, -1), (insertion, 1)):
        best, middle, worst = (
            sign * metric(model, x, maps, 0, baseline="zero", steps=12).auc
            for maps in (oracle, noise, -oracle)
        )
        assert bool((best > middle).all())
        assert bool((middle > worst).all())


def test_negative_order_is_the_order_of_the_negated_map() -> None:
    model, (x, maps) = network(), pictures()
    left, right = deletion(model, x, maps, order="negative"), deletion(model, x, -maps)
    torch.testing.assert_close(left.scores, right.scores)
    same = deletion(model, x, maps, order="absolute"), deletion(model, x, maps.sum(1).abs())
    torch.testing.assert_close(same[0].scores, same[1].scores)


@pytest.mark.parametrize("chunk_size", [1, 7, 29, 64, 10_000])
@pytest.mark.parametrize("metric", [deletion, insertion])
def test_chunk_size_changes_nothing(metric: Callable[..., Curve], chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    whole, parts = metric(model, x, maps), metric(model, x, maps, chunk_size=chunk_size)
    torch.testing.assert_close(whole.scores, parts.scores, atol=1e-12, rtol=0)
    assert torch.equal(whole.target, parts.target)


def test_a_picture_scores_the_same_in_any_batch() -> None:
    model, (x, maps) = network(), pictures()
    ties = maps.sum(1).round()
    whole, alone = deletion(model, x, ties, seed=4), deletion(model, x[3:4], ties[3:4], seed=4)
    torch.testing.assert_close(whole.scores[3:4], alone.scores, atol=1e-12, rtol=0)
    assert not torch.equal(whole.scores, deletion(model, x, ties, seed=5).scores)


def test_a_constant_map_is_a_seeded_random_order() -> None:
    model, (x, _) = network(), pictures()
    flat = torch.zeros(6, 14, 14)
    with pytest.warns(ConstantMapWarning, match="6 of 6 maps are constant"):
        first = deletion(model, x, flat, seed=1)
    with pytest.warns(ConstantMapWarning):
        assert torch.equal(first.scores, deletion(model, x, flat + 3, seed=1).scores)
    with pytest.warns(ConstantMapWarning):
        assert not torch.equal(first.scores, deletion(model, x, flat, seed=2).scores)


def test_target_is_the_prediction_on_the_intact_picture() -> None:
    model, (x, maps) = network(), pictures()
    predicted = model.eval()(x).argmax(1)
    for metric in (deletion, insertion):
        assert torch.equal(metric(model, x, maps).target, predicted)
        given = metric(model, x, maps, predicted)
        torch.testing.assert_close(given.scores, metric(model, x, maps).scores)
    assert deletion(model, x, maps, 2).target.tolist() == [2] * 6


def test_curve_has_the_agreed_shapes_for_steps_that_do_not_divide() -> None:
    x, maps = pictures()
    curve = deletion(network(), x, maps, steps=28 * 3 + 1)
    assert curve.fractions.shape == (86,)
    assert curve.scores.shape == (6, 86)
    assert curve.auc.shape == (6,)
    assert curve.fractions[[0, -1]].tolist() == [0.0, 1.0]
    torch.testing.assert_close(
        curve.auc, torch.from_numpy(np.trapezoid(curve.scores, curve.fractions, axis=1))
    )


def test_logit_scores_end_at_the_logits() -> None:
    model, (x, maps) = network(), pictures()
    curve = deletion(model, x, maps, 1, score="logit")
    torch.testing.assert_close(curve.scores[:, 0], model.eval()(x)[:, 1].detach())
    empty = model(torch.zeros_like(x))[:, 1].detach()
    torch.testing.assert_close(curve.scores[:, -1], empty)


def test_mean_and_tensor_baselines() -> None:
    model, (x, maps) = network(), pictures()
    by_name = deletion(model, x, maps, 1, baseline="mean")
    by_tensor = deletion(model, x, maps, 1, baseline=x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(by_name.scores, by_tensor.scores)
    # A baseline of its own for every picture, in chunks of four and two.
    parts = deletion(model, x, maps, 1, baseline=x.mean((2, 3), keepdim=True), chunk_size=4)
    torch.testing.assert_close(by_name.scores, parts.scores, atol=1e-12, rtol=0)


@pytest.mark.parametrize("metric", [deletion, insertion])
def test_noise_has_the_moments_of_the_picture(metric: Callable[..., Curve]) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 2, 60, 60, generator=generator, dtype=torch.float64)
    x = x * torch.tensor([3.0, 0.5]).view(2, 1, 1) + torch.tensor([-1.0, 4.0]).view(2, 1, 1)
    made = noise(x, 7)
    mean, deviation = x.mean((2, 3)), x.std((2, 3), correction=0)
    torch.testing.assert_close(made.mean((2, 3)), mean, atol=0.15, rtol=0)
    torch.testing.assert_close(made.std((2, 3)), deviation, atol=0, rtol=0.05)
    torch.testing.assert_close(made[1:2], noise(x[1:2], 7))
    single = torch.full((1, 2, 1, 1), 3.0)
    assert torch.equal(noise(single, 7), single)
    torch.testing.assert_close(made.float(), noise(x.float(), 7), atol=1e-5, rtol=1e-5)
    drawn = ((made - mean[..., None, None]) / deviation[..., None, None])[0]
    assert abs(float((drawn[0] * drawn[1]).mean())) < 0.06
    model, (x, maps) = network(), pictures()
    state = torch.get_rng_state()
    found = metric(model, x, maps, 1, baseline="noise", seed=7).scores
    assert torch.equal(state, torch.get_rng_state())
    by_tensor = metric(model, x, maps, 1, baseline=noise(x, 7), seed=7).scores
    torch.testing.assert_close(found, by_tensor, atol=1e-12, rtol=0)
    alone = metric(model, x[2:3], maps[2:3], 1, baseline="noise", seed=7).scores
    torch.testing.assert_close(found[2:3], alone, atol=1e-12, rtol=0)
    assert not torch.equal(found, metric(model, x, maps, 1, baseline="noise", seed=8).scores)


@pytest.mark.parametrize("metric", [deletion, insertion])
def test_substrates_are_made_for_one_chunk_at_a_time(
    metric: Callable[..., Curve], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x, maps) = network(), pictures()
    sizes: dict[str, list[int]] = {"substrate": [], "pixel_rank": []}
    for name, seen in sizes.items():
        original = getattr(replacing, name)

        def spy(some: Tensor, *rest: object, of: object = original, into: list[int] = seen) -> Any:
            into.append(len(some))
            return of(some, *rest)  # type: ignore[operator]

        monkeypatch.setattr(replacing, name, spy)
    metric(model, x, maps, baseline="mean", chunk_size=4)
    # Once for the first picture before anything is run, then for the chunks of four and two.
    assert sizes == {"substrate": [1, 4, 2], "pixel_rank": [4, 2]}


def test_maps_of_one_channel_are_maps_without() -> None:
    model, (x, maps) = network(), pictures()
    flat = maps.sum(1)
    one, none = deletion(model, x, flat.unsqueeze(1)), deletion(model, x, flat)
    assert torch.equal(one.scores, none.scores)
    whole = deletion(model, x, (flat * 10).round().int())
    torch.testing.assert_close(whole.scores, deletion(model, x, (flat * 10).round()).scores)


def test_the_model_and_the_global_generator_come_back_as_they_were() -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    first = deletion(model, x, maps)
    assert [m.training for m in model.modules()] == [True, True, False, *[True] * 5]
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.scores, deletion(model.eval(), x, maps).scores)


def test_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(4, 2))
    model.train()
    with pytest.raises(RuntimeError):
        deletion(model, torch.ones(1, 1, 5, 5), torch.rand(1, 5, 5), steps=5)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.rand(6, 13, 14)}, "maps have the shape"),
        ({"maps": torch.rand(5, 14, 14)}, "maps have the shape"),
        ({"maps": torch.rand(6, 2, 14, 14)}, "maps have the shape"),
        ({"maps": torch.full((6, 14, 14), torch.nan)}, "6 of 6 maps hold NaN"),
        ({"maps": torch.rand(6, 14, 14, dtype=torch.complex64)}, "complex"),
        ({"x": torch.rand(6, 3 * 196)}, "x has the shape"),
        ({"x": torch.rand(0, 3, 14, 14)}, "x has the shape"),
        ({"x": torch.full((6, 3, 14, 14), torch.inf)}, "NaN or infinite pixels"),
        ({"x": torch.ones(6, 3, 14, 14, dtype=torch.uint8)}, "floating point"),
        ({"steps": 197}, "steps=197"),
        ({"steps": 0}, "steps=0"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"order": "up"}, "order='up'"),
        ({"score": "loss"}, "score='loss'"),
        ({"baseline": "grey"}, "choose zero, mean, blur or noise"),
        ({"baseline": torch.zeros(2, 2)}, "does not broadcast"),
        ({"target": 5}, "outside 0..4"),
        ({"target": torch.zeros(3, dtype=torch.long)}, "target has the shape"),
        ({"target": torch.zeros(6)}, "integer class indices"),
        ({"model": lambda x: x.sum((1, 2, 3))}, "must give"),
        ({"model": lambda x: x.flatten(1) * torch.nan}, "NaN or infinite logits"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    x, maps = pictures()
    call: dict[str, object] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        deletion(**call)  # type: ignore[arg-type]


def test_a_blur_larger_than_the_picture_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(MetricInputError, match="11x11 blur does not fit a picture of 8x8"):
        insertion(model, torch.rand(2, 1, 8, 8), torch.rand(2, 8, 8))


@pytest.mark.parametrize(("cls", "function"), [(Deletion, deletion), (Insertion, insertion)])
def test_classes_gather_what_the_functions_give(
    cls: type[Deletion | Insertion], function: Callable[..., Curve]
) -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    metric = cls(model, steps=14)
    metric.update(x[:4], maps[:4])
    metric.update(x[4:], maps[4:], None)
    expected = function(model, x, maps, steps=14)
    torch.testing.assert_close(metric.curve().scores, expected.scores)
    torch.testing.assert_close(metric.compute(), expected.auc.mean())
    assert torch.equal(metric.curve().target, expected.target)
    metric.eval()
    assert model.training
    metric.reset()
    assert metric.values == []
