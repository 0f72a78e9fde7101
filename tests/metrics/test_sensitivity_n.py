"""Sensitivity-n against its definition, written again one subset at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics.faithfulness import SensitivityN, SensitivityNCurve
from biasmatters.metrics.functional._checks import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.sensitivity_n import sensitivity_n, sensitivity_n_curve
from tests.metrics.oracle import ShapesCase, shapes_case


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6 * 16, 5),
    ).double()


def pictures(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64)


def linear(bias: bool = True) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, pictures, and the exact share of every value in logit 1."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 36, 3, bias=bias)).double()
    x = torch.randn(4, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return model, x, x * model[1].weight[1].detach().view(1, 2, 6, 6)


@pytest.mark.parametrize("n", [1, 5, 40, 63])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_equals_one_subset_at_a_time(n: int, score: str) -> None:
    model, (x, maps) = network().eval(), pictures(3)
    found = sensitivity_n(model, x, maps, n=n, subsets=20, score=score, seed=7)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(7)
    subsets = []
    for _ in range(20):
        place = torch.randperm(64, generator=generator).tolist()
        subsets.append([pixel for pixel in range(64) if place[pixel] < n])
    assert all(len(set(subset)) == n for subset in subsets)
    for i in range(len(x)):
        with torch.no_grad():
            whole = model(x[i : i + 1])[0]
        chosen = int(whole.argmax())
        sums, drops = [], []
        for subset in subsets:
            changed = x[i].clone().numpy()
            for pixel in subset:
                changed[:, pixel // 8, pixel % 8] = 0
            with torch.no_grad():
                out = model(torch.from_numpy(changed)[None])[0]
            before, after = (
                float(v[chosen] if score == "logit" else v.softmax(0)[chosen]) for v in (whole, out)
            )
            drops.append(before - after)
            sums.append(sum(float(maps[i, :, p // 8, p % 8].sum()) for p in subset))
        assert float(found[i]) == pytest.approx(np.corrcoef(sums, drops)[0, 1], abs=1e-9)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_the_exact_shares_of_a_linear_model_correlate_by_one(baseline: str) -> None:
    model, x, exact = linear()
    if baseline == "mean":
        exact = exact - exact / x * x.mean((2, 3), keepdim=True)
    for n in (1, 0.3, 35):
        found = sensitivity_n(model, x, exact, 1, n=n, baseline=baseline)  # type: ignore[arg-type]
        torch.testing.assert_close(found, torch.ones(4, dtype=torch.float64), atol=1e-12, rtol=0)
        torch.testing.assert_close(
            sensitivity_n(model, x, -exact, 1, n=n, baseline=baseline),  # type: ignore[arg-type]
            -found,
        )
    assert bool((sensitivity_n(model, x, exact.flip(0), 1, baseline="zero") < 0.9).all())


def test_neither_scale_nor_an_even_share_of_a_constant_changes_it() -> None:
    model, (x, maps) = network(), pictures()
    found = sensitivity_n(model, x, maps, n=6)
    torch.testing.assert_close(sensitivity_n(model, x, 1e-8 * maps, n=6), found)
    torch.testing.assert_close(
        sensitivity_n(model, x, 3e4 * maps + 50, n=6), found, atol=0, rtol=1e-6
    )
    torch.testing.assert_close(sensitivity_n(model, x, maps.sum(1), n=6), found)


def occluded(case: ShapesCase, n: int) -> Tensor:
    """``(n, H, W)`` what each pixel alone takes from the logit when it becomes 0."""
    x, target = case.x[:n], case.target[:n]
    height, width = x.shape[-2:]
    found = torch.empty(n, height * width)
    with torch.no_grad():
        whole = case.model(x).gather(1, target[:, None])
        for i in range(n):
            keep = 1 - torch.eye(height * width).view(-1, 1, height, width)
            found[i] = whole[i] - case.model(x[i] * keep)[:, target[i]]
    return found.view(n, height, width)


def test_single_pixel_drops_beat_noise_which_beats_their_negation() -> None:
    case, n = shapes_case(), 6
    oracle = occluded(case, n)
    for size in (1, 0.05, 0.3):
        best, middle, worst = (
            float(sensitivity_n(case.model, case.x[:n], maps, case.target[:n], n=size).mean())
            for maps in (oracle, case.random[:n], -oracle)
        )
        assert best > middle + 0.2
        assert middle > worst + 0.2
        assert abs(middle) < 0.2


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 10_000])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    whole = sensitivity_n(model, x, maps, n=9)
    parts = sensitivity_n(model, x, maps, n=9, chunk_size=chunk_size)
    torch.testing.assert_close(whole, parts, atol=1e-9, rtol=0)


def test_a_picture_scores_the_same_in_any_batch() -> None:
    model, (x, maps) = network(), pictures()
    whole, alone = (sensitivity_n(model, a, b) for a, b in ((x, maps), (x[3:4], maps[3:4])))
    torch.testing.assert_close(whole[3:4], alone, atol=1e-9, rtol=0)
    assert not torch.equal(whole, sensitivity_n(model, x, maps, seed=1))


def test_the_curve_goes_through_the_single_sizes() -> None:
    model, (x, maps) = network(), pictures()
    curve = sensitivity_n_curve(model, x, maps, sizes=[0.5, 3, 3, 10], subsets=30)
    torch.testing.assert_close(curve.fractions * 64, torch.tensor([3.0, 10, 32]).double())
    for i, n in enumerate((3, 10, 32)):
        alone = sensitivity_n(model, x, maps, n=n, subsets=30)
        torch.testing.assert_close(curve.scores[:, i], alone, atol=1e-9, rtol=0)
    area = np.trapezoid(curve.scores, curve.fractions, axis=1) / (29 / 64)
    np.testing.assert_allclose(curve.auc, area)
    assert torch.equal(curve.target, model.eval()(x).argmax(1))


def test_sizes_are_spread_in_the_logarithm() -> None:
    model, (x, maps) = network(), pictures(2)
    curve = sensitivity_n_curve(model, x, maps, points=5, subsets=5)
    assert (curve.fractions * 64).tolist() == [1, 3, 7, 19, 51]
    assert len(sensitivity_n_curve(model, x, maps, points=40, subsets=3).fractions) < 40


@pytest.mark.parametrize("value", [0.0, 0.1, -7e9])
def test_a_constant_map_scores_zero_and_warns(value: float) -> None:
    # On 1024 pixels, sums of equal numbers differ by round-off with their places.
    x = torch.rand(6, 1, 32, 32, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 3)).double()
    flat = torch.full((6, 32, 32), value, dtype=torch.float64)
    with pytest.warns(ConstantMapWarning, match="6 of 6 maps are constant"):
        found = sensitivity_n(model, x, flat, n=0.3)
    assert found.tolist() == [0.0] * 6


def test_an_output_that_does_not_move_scores_zero() -> None:
    x, maps = pictures()
    still = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).double()
    nn.init.zeros_(still[1].weight)
    assert sensitivity_n(still, x, maps).tolist() == [0.0] * 6

    # A little round-off in the output is no movement either.
    def shaken(v: Tensor) -> Tensor:
        return 3 + 3e-16 * v.flatten(1)[:, :2].sign()

    assert sensitivity_n(shaken, x, maps).tolist() == [0.0] * 6
    one_pixel = torch.zeros(6, 8, 8)
    one_pixel[:, 0, 0] = 1
    found = sensitivity_n(network(), x, one_pixel, n=1, subsets=2, seed=5)
    assert found.tolist() == [0.0] * 6


def test_single_precision_and_the_models_state() -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    state, exact = torch.get_rng_state(), sensitivity_n(model, x, maps)
    assert model[5].training
    assert torch.equal(state, torch.get_rng_state())
    single = sensitivity_n(model.float(), x.float(), maps.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 64}, "n=64"),
        ({"n": 1.0}, "n=1.0 is not a share"),
        ({"n": -0.2}, "n=-0.2 is not a share"),
        ({"subsets": 1}, "subsets=1"),
        ({"maps": torch.rand(6, 7, 8)}, "maps have the shape"),
        ({"maps": torch.rand(6, 2, 8, 8)}, "maps have the shape"),
        ({"maps": torch.full((6, 8, 8), torch.nan)}, "6 of 6 maps hold NaN"),
        ({"maps": torch.rand(6, 8, 8, dtype=torch.complex64)}, "complex"),
        ({"x": torch.rand(6, 192)}, "x has the shape"),
        ({"baseline": "grey"}, "baseline='grey'"),
        ({"target": 9}, "outside 0..4"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    x, maps = pictures()
    call: dict[str, object] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        sensitivity_n(**call)  # type: ignore[arg-type]


def test_a_curve_of_one_size_is_refused() -> None:
    x, maps = pictures()
    for sizes in ([3], [3, 3], []):
        with pytest.raises(MetricInputError, match="two different n"):
            sensitivity_n_curve(network(), x, maps, sizes=sizes)
    with pytest.raises(MetricInputError, match="points=1"):
        sensitivity_n_curve(network(), x, maps, points=1)


def test_classes_gather_what_the_functions_give() -> None:
    model, (x, maps) = network(), pictures()
    metric, curve = SensitivityN(model, n=5), SensitivityNCurve(model, sizes=[2, 8])
    for gathers in (metric, curve):
        gathers.update(x[:4], maps[:4])
        gathers.update(x[4:], maps[4:], None)
    expected = sensitivity_n(model, x, maps, n=5)
    torch.testing.assert_close(metric.per_image(), expected)
    torch.testing.assert_close(metric.compute(), expected.mean())
    whole = sensitivity_n_curve(model, x, maps, sizes=[2, 8])
    torch.testing.assert_close(curve.compute(), whole.auc.mean())
