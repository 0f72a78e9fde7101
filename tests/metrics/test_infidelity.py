"""Infidelity against Captum's, on the same perturbations, and against the authors' squares."""

from __future__ import annotations

from collections.abc import Callable

import captum.metrics
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics.faithfulness import Infidelity
from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.infidelity import infidelity
from tests.metrics.oracle import shapes_case
from tests.metrics.test_sensitivity_n import linear, network, occluded, pictures

LAWS = [
    ("square", "contribution"),
    ("subset", "contribution"),
    ("square", "gradient"),
    ("subset", "gradient"),
    ("gaussian", "gradient"),
    ("noisy_baseline", "gradient"),
]


def recorded(model: nn.Module) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The model, and the pictures that it is given."""
    seen: list[Tensor] = []

    def call(x: Tensor) -> Tensor:
        seen.append(x.clone())
        out: Tensor = model(x)
        return out

    return call, seen


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("perturbation", "units"), LAWS)
def test_equals_captum_on_the_same_perturbations(
    perturbation: str, units: str, normalize: bool
) -> None:
    model, (x, maps) = network().eval(), pictures(3)
    base = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
    call, seen = recorded(model)
    found = infidelity(
        call,
        x,
        maps,
        2,
        perturbation=perturbation,  # type: ignore[arg-type]
        units=units,  # type: ignore[arg-type]
        samples=25,
        baseline=base,
        normalize=normalize,
        seed=3,
    )
    # What the model was shown is all that is taken over: the intact pictures and the perturbed.
    shown = torch.cat(seen).view(3, 26, 3, 8, 8)
    assert torch.equal(shown[:, 0], x)
    perturbed = shown[:, 1:].flatten(0, 1)
    change = x.repeat_interleave(25, 0) - perturbed
    if units == "contribution":
        change = (change != 0).double()

    def replay(inputs: Tensor) -> tuple[Tensor, Tensor]:
        assert len(inputs) == 75
        return change, perturbed

    wanted = captum.metrics.infidelity(
        model, replay, x, maps, target=2, n_perturb_samples=25, normalize=normalize
    )
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-6)


def test_the_laws_draw_what_they_say() -> None:
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) + 9
    maps = torch.rand(2, 3, 12, 12)

    def shown(perturbation: str, **more: object) -> Tensor:
        call, seen = recorded(nn.Sequential(nn.Flatten(), nn.Linear(432, 2)))
        units = "gradient" if perturbation in {"gaussian", "noisy_baseline"} else "contribution"
        infidelity(call, x, maps, 0, perturbation=perturbation, units=units, samples=400, **more)  # type: ignore[arg-type]
        groups = torch.cat([part.view(2, -1, 3, 12, 12) for part in seen], 1)
        return groups[:, 1:]

    noise = x[:, None] - shown("gaussian", noise=0.5)
    torch.testing.assert_close(noise[0], noise[1], atol=1e-5, rtol=0)
    assert abs(float(noise.std()) - 0.5) < 0.01
    assert abs(float(noise.mean())) < 0.01
    around = shown("noisy_baseline", noise=0.5)
    assert abs(float(around.std()) - 0.5) < 0.01
    assert abs(float(around.mean())) < 0.01
    gone = shown("subset") == 0
    assert torch.equal(gone[:, :, 0], gone[:, :, 2])
    assert abs(float(gone.double().mean()) - 0.5) < 0.01
    squares = (shown("square", side=5) == 0)[0]
    assert torch.equal(squares[:, 0], squares[:, 1])
    sizes = set()
    for square in squares[:, 0]:
        rows, columns = square.any(1), square.any(0)
        assert int(rows.sum()) == int(columns.sum())
        assert torch.equal(square, rows[:, None] & columns)
        top = rows.nonzero().flatten()
        assert int(top[-1] - top[0]) + 1 == len(top)
        sizes.add(len(top))
    assert sizes == {1, 2, 3, 4, 5}
    assert len({tuple(square.flatten().tolist()) for square in squares[:, 0]}) == 400


def authors_squares(model: nn.Module, picture: Tensor, phi: Tensor, label: int, top: int) -> float:
    """All squares of side 1..top to 0, with the optimal scale, one square at a time."""
    with torch.no_grad():
        before = float(model(picture[None])[0, label])
        foretold, drops = [], []
        for side in range(1, top + 1):
            for i in range(picture.shape[1] - side + 1):
                for j in range(picture.shape[2] - side + 1):
                    changed = picture.clone()
                    changed[:, i : i + side, j : j + side] = 0
                    drops.append(before - float(model(changed[None])[0, label]))
                    foretold.append(float(phi[:, i : i + side, j : j + side].sum()))
    said, did = np.array(foretold), np.array(drops)
    said *= np.mean(did * said) / np.mean(said * said)
    return float(np.mean(np.square(did - said)))


def test_all_squares_are_the_authors_protocol() -> None:
    model, (x, maps) = network().eval(), pictures(2)
    found = infidelity(model, x, maps, 1, side=3, samples=10_000)
    for i in range(2):
        wanted = authors_squares(model, x[i], maps[i], 1, 3)
        assert float(found[i]) == pytest.approx(wanted, rel=1e-9)
    share = infidelity(model, x, maps, 1, side=0.375, samples=64 + 49 + 36)
    torch.testing.assert_close(share, found)


def test_the_exact_maps_of_a_linear_model_have_none() -> None:
    model, x, exact = linear()
    slope = exact / x
    for perturbation, units in LAWS:
        maps = exact if units == "contribution" else slope
        law = {"perturbation": perturbation, "units": units, "side": 3}
        for normalize in (False, True):
            good = infidelity(model, x, maps, 1, normalize=normalize, **law)  # type: ignore[arg-type]
            bad = infidelity(model, x, maps.flip(3), 1, normalize=normalize, **law)  # type: ignore[arg-type]
            assert float(good.max()) < 1e-20
            assert float(bad.min()) > 1e-3


def test_single_pixel_drops_beat_noise_which_beats_their_negation() -> None:
    case, n = shapes_case(), 6
    oracle = occluded(case, n)
    scale = float(oracle.std())
    noise = (case.random[:n] - 0.5) * 2 * scale
    for perturbation in ("square", "subset"):
        best, middle, worst = (
            infidelity(
                case.model,
                case.x[:n],
                maps,
                case.target[:n],
                perturbation=perturbation,
                side=3,
                normalize=False,
            ).mean()
            for maps in (oracle, noise, -oracle)
        )
        assert best < middle < worst


def test_contributions_are_gradients_times_what_is_taken_away() -> None:
    model, (x, maps) = network(), pictures()
    for perturbation in ("square", "subset"):
        by_slope = infidelity(model, x, maps, perturbation=perturbation, units="gradient")
        by_share = infidelity(model, x, maps * x, perturbation=perturbation)
        torch.testing.assert_close(by_slope, by_share)
    summed = infidelity(model, x, maps.sum(1), perturbation="subset")
    torch.testing.assert_close(summed, infidelity(model, x, maps, perturbation="subset"))


def test_scaling_makes_it_blind_to_scale_and_sign_and_kind_to_nothing() -> None:
    model, (x, maps) = network(), pictures()
    found = infidelity(model, x, maps)
    for factor in (-1, 1e-200, 1e150):
        torch.testing.assert_close(infidelity(model, x, factor * maps), found)
    assert bool((found <= infidelity(model, x, maps, normalize=False)).all())
    # A zero map foretells nothing: the mean squared drop is left, the most a scaled map can have.
    empty = infidelity(model, x, torch.zeros(6, 8, 8))
    torch.testing.assert_close(empty, infidelity(model, x, 0 * maps, normalize=False))
    assert bool((found <= empty).all())


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 10_000])
@pytest.mark.parametrize(("perturbation", "units"), LAWS[1::2])
def test_chunk_size_changes_nothing(perturbation: str, units: str, chunk_size: int) -> None:
    model, (x, maps) = network(), pictures()
    law = {"perturbation": perturbation, "units": units, "samples": 50}
    whole = infidelity(model, x, maps, **law)  # type: ignore[arg-type]
    parts = infidelity(model, x, maps, chunk_size=chunk_size, **law)  # type: ignore[arg-type]
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize(("perturbation", "units"), LAWS)
def test_a_picture_scores_the_same_in_any_batch(perturbation: str, units: str) -> None:
    model, (x, maps) = network(), pictures()
    law = {"perturbation": perturbation, "units": units, "samples": 50}
    whole = infidelity(model, x, maps, **law)  # type: ignore[arg-type]
    alone = infidelity(model, x[3:4], maps[3:4], **law)  # type: ignore[arg-type]
    torch.testing.assert_close(whole[3:4], alone)
    assert not torch.equal(whole, infidelity(model, x, maps, seed=1, **law))  # type: ignore[arg-type]


def test_single_precision_and_the_models_state() -> None:
    model, (x, maps) = network(), pictures()
    model.train()
    state = torch.get_rng_state()
    exact = infidelity(model, x, maps, perturbation="gaussian", units="gradient")
    assert model[5].training
    assert torch.equal(state, torch.get_rng_state())
    single = infidelity(
        model.float(), x.float(), maps.float(), perturbation="gaussian", units="gradient"
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"perturbation": "blur"}, "perturbation='blur'"),
        ({"units": "shares"}, "units='shares'"),
        ({"perturbation": "gaussian"}, "no definite share"),
        ({"perturbation": "noisy_baseline"}, "no definite share"),
        ({"units": "gradient", "maps": torch.rand(6, 8, 8)}, "not yet summed over channels"),
        ({"perturbation": "gaussian", "units": "gradient", "noise": 0.0}, "noise=0.0"),
        ({"samples": 0}, "samples=0"),
        ({"side": 9}, "side=9"),
        ({"side": 0}, "side=0"),
        ({"side": 1.5}, "side=12"),
        ({"maps": torch.rand(6, 7, 8)}, "maps have the shape"),
        ({"maps": torch.full((6, 8, 8), torch.inf)}, "6 of 6 maps hold NaN"),
        ({"x": torch.rand(6, 192)}, "x has the shape"),
        ({"target": 9}, "outside 0..4"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    x, maps = pictures()
    call: dict[str, object] = {"model": network(), "x": x, "maps": maps, **change}
    with pytest.raises(MetricInputError, match=message):
        infidelity(**call)  # type: ignore[arg-type]


def test_the_class_gathers_what_the_function_gives() -> None:
    model, (x, maps) = network(), pictures()
    metric = Infidelity(model, perturbation="subset", samples=30)
    metric.update(x[:4], maps[:4])
    metric.update(x[4:], maps[4:], None)
    expected = infidelity(model, x, maps, perturbation="subset", samples=30)
    torch.testing.assert_close(metric.per_image(), expected)
    torch.testing.assert_close(metric.compute(), expected.mean())
