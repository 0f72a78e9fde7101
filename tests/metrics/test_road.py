"""ROAD against a loop with dense solves in numpy, and against Quantus."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import quantus
import torch
from torch import Tensor, nn

from biasmatters.metrics.functional import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.road import First, RoadScore, road
from biasmatters.metrics.road import RoadLeRF, RoadMoRF
from tests.metrics.oracle import shapes_case
from tests.metrics.test_imputation import numpy_filled


def network(channels: int = 2, size: int = 10) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * size**2, 4),
    ).double()


def pictures(n: int = 5, channels: int = 2, size: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, channels, size, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("first", ["most", "least"])
def test_equals_a_loop_with_dense_solves(first: First) -> None:
    model, (x, maps) = network().eval(), pictures()
    label, shares = torch.tensor([0, 1, 2, 3, 0]), (0.1, 0.29, 0.5, 0.9)
    noise = torch.randn(2, 10, 10, generator=torch.Generator().manual_seed(7)).double()
    every = {
        score: road(
            model, x, maps, label, first=first, fractions=shares, noise=0.1, score=score, seed=7
        )
        for score in ("probability", "logit", "accuracy")
    }
    for i in range(len(x)):
        visits = np.argsort(-maps[i].sum(0).numpy().ravel())
        visits = visits if first == "most" else visits[::-1]
        for k, count in enumerate((10, 29, 50, 90)):
            removed = np.zeros(100, dtype=bool)
            removed[visits[:count]] = True
            removed = removed.reshape(10, 10)
            filled = numpy_filled(x[i].numpy(), removed) + 0.1 * noise.numpy() * removed
            with torch.no_grad():
                logits = model(torch.from_numpy(filled)[None])[0]
            expected = {
                "probability": float(logits.softmax(0)[label[i]]),
                "logit": float(logits[label[i]]),
                "accuracy": float(logits.argmax() == label[i]),
            }
            for score, value in expected.items():
                assert float(every[score].scores[i, k]) == pytest.approx(value, abs=1e-6)
    assert every["accuracy"].scores.unique().tolist() == [0, 1]
    assert torch.equal(every["accuracy"].target, label)


@pytest.mark.parametrize("most", [True, False])
def test_accuracy_equals_quantus(most: bool) -> None:
    model, (x, maps) = network(1).float().eval(), pictures(24, 1)
    x, maps = x.float(), maps.float()
    labels = torch.arange(24) % 4
    curve = road(
        model,
        x,
        maps,
        labels,
        first="most" if most else "least",
        fractions=(0.2, 0.4, 0.6, 0.8),
        noise=0,
        score="accuracy",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = quantus.ROAD(
            percentages=[20, 40, 60, 80], noise=0, normalise=False, disable_warnings=True
        )(
            model=model,
            x_batch=x.numpy(),
            y_batch=labels.numpy(),
            a_batch=(maps if most else -maps).numpy(),
            softmax=False,
            channel_first=True,
        )
    ours = curve.scores.mean(0).tolist()
    assert len(set(ours)) > 1
    np.testing.assert_allclose(ours, list(theirs.values()), atol=1e-6)


def blobs() -> Tensor:
    """Random maps without fine grain: single pixels are filled back nearly as they were."""
    coarse = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    return nn.functional.interpolate(coarse, size=(24, 24), mode="bicubic")[:, 0]


@pytest.mark.parametrize("score", ["probability", "accuracy"])
def test_oracle_beats_random_beats_anti_oracle(score: RoadScore) -> None:
    # Up to where the ground, which the wrong map ranks first, is still there to fill from.
    case, shares = shapes_case(), (0.1, 0.2, 0.3, 0.4, 0.5)
    for first, sign in (("most", -1), ("least", 1)):
        best, middle, worst = (
            sign * road(case.model, case.x, maps, first=first, fractions=shares, score=score).auc
            for maps in (case.oracle, blobs(), case.anti)
        )
        assert float(best.mean()) > float(middle.mean()) + 0.01
        assert float(middle.mean()) > float(worst.mean()) + 0.01


def test_scattered_pixels_are_filled_back() -> None:
    """Why a map of noise is no floor here, as the docstring says."""
    case = shapes_case()
    scattered, coarse = (
        road(case.model, case.x, maps, score="accuracy").scores[:, 4].mean()
        for maps in (case.random, blobs())
    )
    assert float(scattered) > float(coarse) + 0.1


def test_least_first_is_most_first_of_the_negated_map() -> None:
    model, (x, maps) = network(), pictures()
    least, most = road(model, x, maps, first="least"), road(model, x, -maps)
    torch.testing.assert_close(least.scores, most.scores, atol=1e-7, rtol=0)
    negative = road(model, x, maps, order="negative")
    torch.testing.assert_close(negative.scores, most.scores, atol=1e-7, rtol=0)


def test_curve_starts_intact_at_fraction_0() -> None:
    model, (x, maps) = network(), pictures()
    curve = road(model, x, maps, fractions=(0, 0.3, 0.4))
    intact = model.eval()(x).softmax(1).amax(1).detach()
    torch.testing.assert_close(curve.scores[:, 0], intact)
    assert torch.equal(curve.target, model(x).argmax(1))
    area = 0.15 * (curve.scores[:, 0] + curve.scores[:, 1]) + 0.05 * curve.scores[:, 1:].sum(1)
    torch.testing.assert_close(curve.auc, area / 0.4)


@pytest.mark.parametrize("chunk_size", [1, 4, 7, 1000])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    whole, parts = road(model, x, maps), road(model, x, maps, chunk_size=chunk_size)
    torch.testing.assert_close(whole.scores, parts.scores, atol=1e-7, rtol=0)
    assert torch.equal(whole.target, parts.target)


def test_a_picture_scores_the_same_in_any_batch() -> None:
    model, (x, maps) = network(), pictures()
    ties = maps.sum(1).round()
    whole, alone = road(model, x, ties, seed=4), road(model, x[3:4], ties[3:4], seed=4)
    torch.testing.assert_close(whole.scores[3:4], alone.scores, atol=1e-7, rtol=0)
    assert not torch.allclose(whole.scores, road(model, x, ties, seed=5).scores, atol=1e-4)


def test_a_constant_map_is_a_seeded_random_order() -> None:
    model, (x, _) = network(), pictures()
    with pytest.warns(ConstantMapWarning, match="5 of 5 maps are constant"):
        first = road(model, x, torch.zeros(5, 10, 10), seed=1)
    with pytest.warns(ConstantMapWarning):
        again = road(model, x, torch.ones(5, 10, 10), seed=1)
    assert torch.equal(first.scores, again.scores)


def test_the_model_and_the_global_generator_come_back_as_they_were() -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    for score in ("probability", "accuracy"):
        first = road(model, x, maps, score=score)
        assert [m.training for m in model.modules()] == [True, True, False, *[True] * 4]
        assert torch.equal(first.scores, road(model, x, maps, score=score).scores)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.rand(5, 9, 10)}, "maps have the shape"),
        ({"maps": torch.full((5, 10, 10), torch.nan)}, "5 of 5 maps hold NaN"),
        ({"x": torch.rand(5, 200)}, "x has the shape"),
        ({"fractions": (0.5, 1.0)}, "below 1"),
        ({"fractions": (-0.1, 0.5)}, "from 0"),
        ({"fractions": (0.5, 0.5)}, "must rise"),
        ({"fractions": (0.5,)}, "two or more"),
        ({"fractions": (0.5, float("nan"))}, "must rise"),
        ({"noise": -0.1}, "at least 0"),
        ({"first": "last"}, "first='last'"),
        ({"order": "up"}, "order='up'"),
        ({"score": "loss"}, "score='loss'"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"target": 4}, "outside 0..3"),
        ({"target": 4, "score": "accuracy"}, "outside 0..3"),
        ({"model": lambda x: x.flatten(1) * torch.nan}, "NaN or infinite logits"),
        (
            {"model": lambda x: x.flatten(1) * torch.nan, "score": "accuracy"},
            "NaN or infinite logits",
        ),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    x, maps = pictures()
    call: dict[str, object] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        road(**call)  # type: ignore[arg-type]


@pytest.mark.parametrize(("cls", "first"), [(RoadMoRF, "most"), (RoadLeRF, "least")])
def test_classes_gather_what_the_function_gives(
    cls: Callable[..., RoadMoRF | RoadLeRF], first: First
) -> None:
    model, (x, maps) = network(), pictures()
    metric = cls(model, fractions=(0.2, 0.6), score="logit")
    metric.update(x[:3], maps[:3])
    metric.update(x[3:], maps[3:], None)
    expected = road(model, x, maps, first=first, fractions=(0.2, 0.6), score="logit")
    torch.testing.assert_close(metric.curve().scores, expected.scores, atol=1e-7, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.auc.mean(), atol=1e-7, rtol=0)
    assert metric.higher_is_better == (first == "least")
    with pytest.raises(MetricInputError, match="leave it out"):
        cls(model, first="most")
