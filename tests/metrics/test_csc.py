"""Cosine similarity convergence against its definition, one pair and one place at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biasmatters.attribution import Gradient
from biasmatters.baselines import LRP
from biasmatters.metrics.csc import CosineSimilarityConvergence
from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.csc import (
    PERCENTS,
    Convergence,
    Descend,
    csc,
    random_similarity,
)

LAYERS = ["4", "3", "2", "1", "0", "input"]


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(54, 12), nn.ReLU(), nn.Linear(12, 4),
    ).eval()  # fmt: skip


def pictures(n: int = 5) -> Tensor:
    return torch.randn(n, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def made_of(low: Callable[[Tensor], Tensor], units: int = 6) -> Descend:
    """A method on made-up layers: what arrives is a function of the signal."""

    def descend(
        x: Tensor, start: str, signal: Callable[[Tensor], Tensor], layers: Sequence[str]
    ) -> dict[str, Tensor]:
        return {"low": low(signal(torch.empty(len(x), units, dtype=x.dtype)))}

    return descend


def gaps(low: Callable[[Tensor], Tensor], n: int = 3, **settings: int) -> Tensor:
    x = pictures(n).double()
    return csc(made_of(low), x, "top", ["low"], **settings).layers["low"].gaps


def plain(found: dict[str, Tensor], name: str, n: int, draws: int) -> tuple[list[float], int]:
    """All |cos| of a layer, and how many pairs have none, by loops."""
    signals = found[name].double().numpy()
    signals = signals.reshape(n, draws, signals.shape[1], -1)
    values, dropped = [], 0
    for picture in signals:
        for i, j in combinations(range(draws), 2):
            for place in range(picture.shape[2]):
                a, b = picture[i, :, place], picture[j, :, place]
                sizes = np.linalg.norm(a) * np.linalg.norm(b)
                if sizes == 0:
                    dropped += 1
                else:
                    values.append(abs(float(a @ b)) / sizes)
    return values, dropped


@pytest.mark.parametrize("start", ["8", "7", "6"])
def test_equals_the_definition_in_numpy(start: str) -> None:
    """The ReLUs of this network leave places without any signal, which are dropped."""
    x, seen, method = pictures(), {}, Gradient(network())

    def spied(*call: object) -> dict[str, Tensor]:
        seen.update(method.descend(*call))  # type: ignore[arg-type]
        return seen

    found = csc(spied, x, start, LAYERS, draws=4, chunk_size=5)
    assert found.start == start
    assert list(found.layers) == LAYERS
    for name in LAYERS:
        layer = found.layers[name]
        values, dropped = plain(seen, name, 5, 4)
        wanted = np.percentile(values, PERCENTS)
        np.testing.assert_allclose(layer.percentiles().numpy(), wanted, atol=1e-6)
        assert layer.gap == pytest.approx(1 - np.median(values), abs=1e-6)
        assert layer.zero == dropped
        assert layer.not_finite == 0
        assert layer.channels == seen[name].shape[1]
    assert sum(layer.zero for layer in found.layers.values()) > 0


def test_the_start_gets_normal_numbers_of_its_own_for_each_picture_and_draw() -> None:
    seen: list[Tensor] = []

    def keep(v: Tensor) -> Tensor:
        seen.append(v)
        return v

    csc(made_of(keep, 2000), pictures(3), "top", ["low"], draws=3, chunk_size=3)
    (v,) = seen
    assert v.shape == (9, 2000)
    assert float(v.mean()) == pytest.approx(0, abs=0.03)
    assert float(v.std()) == pytest.approx(1, abs=0.03)
    assert float((v.corrcoef() - torch.eye(9)).abs().max()) < 0.1


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("flip", [1, -1])
def test_gaps_are_exact_far_below_what_a_cosine_can_say(apart: float, flip: int) -> None:
    """Vectors (1, 0) and (cos t, sin t): the gap is 2 sin^2(t/2), some 1e-18."""

    def low(v: Tensor) -> Tensor:
        angle = torch.tensor([0.0, apart], dtype=v.dtype).repeat(len(v) // 2)
        turn = torch.tensor([1.0, flip], dtype=v.dtype).repeat(len(v) // 2)
        return torch.stack([angle.cos() * turn, angle.sin() * turn], 1) * v.abs().amax(1)[:, None]

    found = gaps(low, draws=2)
    wanted = 2 * math.sin(apart / 2) ** 2
    torch.testing.assert_close(
        found, torch.full((3, 1), wanted), rtol=1e-6 + 1e-14 / apart, atol=0.0
    )


def test_gaps_of_single_precision_signals_are_what_their_own_rounding_leaves() -> None:
    signals: list[Tensor] = []

    def low(v: Tensor) -> Tensor:
        signals.append(v[:1].abs().float() * torch.tensor([[1.0], [3.0], [7.0]]))
        return signals[-1]

    x = pictures(1)
    layer = csc(made_of(low, 50), x, "top", ["low"], draws=3).layers["low"]
    units = [s / np.linalg.norm(s) for s in signals[0].double().numpy()]
    wanted = [float(((a - b) ** 2).sum()) / 2 for a, b in combinations(units, 2)]
    assert layer.gaps[0].tolist() == pytest.approx(wanted, rel=1e-6, abs=0)
    assert layer.floor / 10 < min(wanted) <= max(wanted) < 10 * layer.floor


def test_right_angles_and_percentiles() -> None:
    """Three vectors, 0, 60 and 90 degrees: cosines 1/2, 0 and sqrt(3)/2."""
    angles = torch.tensor([0, math.pi / 3, math.pi / 2], dtype=torch.float64)
    basis = torch.stack([angles.cos(), angles.sin()], 1)
    x = torch.rand(1, 1, 2, 2, dtype=torch.float64)
    layer = csc(made_of(lambda v: basis.clone()), x, "top", ["low"], draws=3).layers["low"]
    wanted = torch.tensor([0, 0.5, math.sqrt(3) / 2], dtype=torch.float64)
    torch.testing.assert_close(layer.percentiles((0, 50, 100)), wanted, atol=1e-7, rtol=0)
    torch.testing.assert_close(
        layer.percentile_gaps((25,)), torch.tensor([0.75], dtype=torch.float64)
    )
    assert layer.per_image().tolist() == pytest.approx([0.5])


def test_a_map_of_rank_one_ends_at_the_floor_and_none_at_all_at_random() -> None:
    one, all_of_it = torch.rand(1, 40), torch.eye(400)
    x = pictures(40)
    lost = csc(made_of(lambda v: v @ (v[:1].T * 0 + 1) @ one), x, "top", ["low"]).layers["low"]
    kept = csc(made_of(lambda v: v @ all_of_it, 400), x, "top", ["low"]).layers["low"]
    assert lost.gap < 10 * lost.floor < 1e-13
    assert kept.gap == pytest.approx(kept.random_gap, abs=0.01)


@pytest.mark.parametrize("channels", [2, 3, 64])
def test_the_random_baseline_is_that_of_gaussian_vectors(channels: int) -> None:
    u, v = torch.randn(2, 40000, channels, generator=torch.Generator().manual_seed(0))
    drawn = torch.cosine_similarity(u, v).abs().double()
    shares = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    wanted = random_similarity(channels, (5, 50, 95))
    torch.testing.assert_close(drawn.quantile(shares), wanted, atol=0.01, rtol=0)
    assert random_similarity(1).tolist() == [1.0] * len(PERCENTS)


def test_a_picture_s_figure_is_its_own() -> None:
    x, descend = pictures(), Gradient(network()).descend

    def found(x: Tensor, **settings: int) -> Tensor:
        return csc(descend, x, "6", ["1", "input"], **settings).layers["1"].gaps

    whole = found(x)
    torch.testing.assert_close(found(x, chunk_size=2), whole, rtol=1e-4, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(found(x[3:4])[0], whole[3], rtol=1e-4, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(
        found(x.flip(0)), whole.flip(0), rtol=1e-4, atol=1e-6, equal_nan=True
    )
    assert not torch.allclose(found(x, seed=1), whole, atol=1e-2, equal_nan=True)
    double = csc(Gradient(network().double()).descend, x.double(), "6", ["1"]).layers["1"].gaps
    torch.testing.assert_close(double, whole, rtol=1e-3, atol=1e-5, equal_nan=True)


def test_global_random_numbers_are_let_be() -> None:
    before = torch.get_rng_state()
    gaps(lambda v: v)
    assert torch.equal(torch.get_rng_state(), before)


def test_positions_are_drawn_where_there_are_many() -> None:
    x, descend = pictures(), Gradient(network()).descend
    layers = {k: csc(descend, x, "6", ["0"], positions=k).layers["0"].gaps for k in (100, 7)}
    assert layers[100].shape == (5, 10 * 100)
    assert layers[7].shape == (5, 10 * 7)
    for row, few in zip(layers[100], layers[7], strict=True):
        pairs, some = row.reshape(10, 100), few.reshape(10, 7)
        same = (pairs[:, :, None] - some[:, None]).abs().lt(1e-6).all(0)
        assert int(same.any(1).sum()) >= 7 - int(some.isnan().any(0).sum())
    picked = [
        csc(descend, x, "6", ["0"], positions=7, chunk_size=n).layers["0"].gaps for n in (1, 5)
    ]
    torch.testing.assert_close(*picked, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("size", [1e-200, 1e200, 1.0])
def test_no_size_of_a_signal_is_too_small_or_too_large(size: float) -> None:
    torch.testing.assert_close(gaps(lambda v: v * size), gaps(lambda v: v))


def test_what_is_zero_or_not_finite_is_dropped_and_counted() -> None:
    def low(v: Tensor) -> Tensor:
        v = v.clone()
        v[0], v[6, 2], v[11, 0] = 0, torch.inf, torch.nan
        return v

    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    layer = csc(made_of(low), x, "top", ["low"]).layers["low"]
    assert (layer.zero, layer.not_finite) == (4, 8)
    kept = layer.gaps[layer.gaps.isfinite()]
    assert len(kept) == 18
    assert 1 - layer.gap == pytest.approx(1 - float(kept.double().quantile(0.5)))
    none = csc(made_of(torch.zeros_like), x, "top", ["low"]).layers["low"]
    assert math.isnan(none.gap)
    assert bool(none.per_image().isnan().all())
    assert none.zero == 30


def test_the_metric_pools_batches() -> None:
    x, descend = pictures(), Gradient(network()).descend
    metric = CosineSimilarityConvergence(descend, "6", LAYERS, draws=3, positions=50)
    with pytest.raises(MetricInputError, match="call update first"):
        metric.convergence()
    metric.update(x[:2])
    metric.update(x[2:])
    wanted = csc(descend, x, "6", LAYERS, draws=3, positions=50)
    found = metric.convergence()
    assert isinstance(found, Convergence)
    for name, value in metric.compute().items():
        assert float(value) == pytest.approx(wanted.layers[name].gap, rel=1e-4)
        assert found.layers[name].channels == wanted.layers[name].channels
        assert found.layers[name].floor == wanted.layers[name].floor
    metric.reset()
    metric.update(x[:1])
    assert len(metric.convergence().layers["0"].gaps) == 1


def test_relevance_by_positive_weights_forgets_and_the_gradient_does_not() -> None:
    """What the paper is about, on a network that was never trained."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    net, x = (
        nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 64, 3)).eval(),
        pictures(4)[..., :8, :8],
    )
    gradient, relevance = (
        csc(method.descend, x, "9", ["7", "5", "3", "1"]).layers
        for method in (Gradient(net), LRP(net, "zplus"))
    )
    assert relevance["1"].gap < relevance["3"].gap < relevance["5"].gap < relevance["7"].gap
    assert relevance["1"].gap < 0.02
    assert gradient["1"].gap > 0.3


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"draws": 1}, "draws=1"),
        ({"positions": 0}, "positions=0"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"layers": []}, "different names"),
        ({"layers": "low"}, "different names"),
        ({"layers": ["low", "low"]}, "different names"),
        ({"layers": ["other"]}, "nothing for the layer 'other'"),
        ({"x": torch.zeros(0, 2)}, "non-empty"),
        ({"x": torch.zeros(2, 2, dtype=torch.long)}, "floating point"),
        ({"x": torch.full((2, 2), torch.nan)}, "NaN"),
        ({"descend": made_of(lambda v: v[:, 0])}, "channels"),
        ({"descend": made_of(lambda v: v[:2])}, "channels"),
    ],
)
def test_bad_input_is_refused(settings: dict[str, object], match: str) -> None:
    call = {"descend": made_of(lambda v: v), "x": torch.rand(3, 4), "layers": ["low"], **settings}
    with pytest.raises(MetricInputError, match=match):
        csc(start="top", **call)  # type: ignore[arg-type]
