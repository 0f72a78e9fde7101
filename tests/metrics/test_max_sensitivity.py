"""Max-sensitivity against Captum's, on the same perturbations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.metrics
import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.explaining import Explain
from biasmatters.metrics.functional.max_sensitivity import avg_sensitivity, max_sensitivity
from biasmatters.metrics.robustness import AvgSensitivity, MaxSensitivity
from tests.metrics.oracle import shapes_case
from tests.metrics.test_sensitivity_n import network, pictures

TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


def gradient(model: nn.Module, times_input: bool = True) -> Explain:
    """Explain by the gradient."""
    model.eval()

    def explain(x: Tensor, target: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            score = model(leaf).gather(1, target[:, None]).sum()
            found = torch.autograd.grad(score, leaf)[0]
        return found * x if times_input else found

    return explain


def recorded(explain: Explain) -> tuple[Explain, list[Tensor]]:
    """The method, and the pictures that it is given."""
    seen: list[Tensor] = []

    def call(x: Tensor, target: Tensor) -> Tensor:
        seen.append(x.clone())
        return explain(x, target)

    return call, seen


@pytest.mark.parametrize("norm", [2.0, 1.0, float("inf")])
def test_equals_captum_on_the_same_perturbations(norm: float) -> None:
    explain, (x, _) = gradient(network()), pictures()
    call, seen = recorded(explain)
    found = max_sensitivity(
        call, x, explain(x, TARGET), TARGET, radius=0.3, samples=8, norm=norm, chunk_size=48
    )
    assert len(seen) == 1

    def tupled(inputs: Tensor | tuple[Tensor, ...], target: Tensor) -> tuple[Tensor]:
        return (explain(inputs[0] if isinstance(inputs, tuple) else inputs, target),)

    wanted = captum.metrics.sensitivity_max(
        tupled,
        x,
        perturb_func=lambda inputs: seen[0],
        n_perturb_samples=8,
        norm_ord=norm,
        target=TARGET,
    )
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-6)
    assert float((seen[0] - x.repeat_interleave(8, 0)).abs().max()) < 0.3


def test_equals_one_change_at_a_time() -> None:
    explain, (x, _) = gradient(network()), pictures()
    call, seen = recorded(explain)
    largest = max_sensitivity(call, x, None, TARGET, radius=0.3, samples=8)
    mean = avg_sensitivity(explain, x, None, TARGET, radius=0.3, samples=8)
    pictures_seen = torch.cat(seen[1:]).view(6, 8, 3, 8, 8)
    for i in range(6):
        own = explain(x[i : i + 1], TARGET[i : i + 1])
        moved = [
            float((explain(at[None], TARGET[i : i + 1]) - own).norm() / own.norm())
            for at in pictures_seen[i]
        ]
        assert float(largest[i]) == pytest.approx(max(moved), rel=1e-9)
        assert float(mean[i]) == pytest.approx(sum(moved) / 8, rel=1e-9)


def test_changes_fill_the_cube_and_are_the_same_for_every_picture() -> None:
    x = torch.zeros(2, 3, 8, 8)
    radius = torch.tensor([0.1, 0.2, 0.4]).view(3, 1, 1)
    call, seen = recorded(lambda x, target: x + 1)
    max_sensitivity(call, x, None, 0, radius=radius, samples=200)
    change = torch.cat([part.view(2, -1, 3, 8, 8) for part in seen[1:]], 1) / radius
    assert torch.equal(change[0], change[1])
    assert float(change.abs().max()) <= 1
    assert abs(float(change.mean())) < 0.01
    assert abs(float(change.std()) - 3**-0.5) < 0.005
    assert len({float(one[0, 0, 0]) for one in change[0]}) == 200


def test_a_constant_map_is_best_and_a_jumping_one_worst() -> None:
    case, n = shapes_case(), 16
    x, target = case.x[:n], case.target[:n]

    def jumping(x: Tensor, target: Tensor) -> Tensor:
        """A map decided by the last digits of the picture."""
        return (1e4 * x).sin()

    methods: list[Explain] = [
        lambda x, target: torch.ones_like(x),
        lambda x, target: x,
        gradient(case.model),
        jumping,
    ]
    for metric in (max_sensitivity, avg_sensitivity):
        found = [float(metric(explain, x, None, target).mean()) for explain in methods]
        assert found[0] == 0
        assert found == sorted(found)
        assert found[3] > 1
        wide = float(metric(gradient(case.model), x, None, target, radius=0.2).mean())
        assert wide > 2 * found[2]


def test_the_class_explained_is_kept() -> None:
    asked: list[Tensor] = []

    def explain(x: Tensor, target: Tensor) -> Tensor:
        asked.append(target)
        return x

    x, _ = pictures()
    max_sensitivity(explain, x, None, TARGET, samples=3)
    assert torch.equal(asked[0], TARGET)
    assert torch.equal(asked[1], TARGET.repeat_interleave(3))


def test_a_zero_map_is_not_divided_by() -> None:
    x = torch.zeros(2, 1, 4, 4)
    found = max_sensitivity(lambda x, target: x, x, None, 0, radius=0.5, norm=float("inf"))
    assert bool((found > 0.4).all())
    assert bool((found < 0.5).all())
    assert max_sensitivity(lambda x, target: 0 * x, x, None, 0).tolist() == [0.0, 0.0]


def test_given_maps_are_not_made_again() -> None:
    explain, (x, _) = gradient(network()), pictures()
    call, seen = recorded(explain)
    found = max_sensitivity(call, x, explain(x, TARGET), TARGET, samples=4)
    assert sum(map(len, seen)) == 24
    torch.testing.assert_close(found, max_sensitivity(explain, x, None, TARGET, samples=4))
    few = max_sensitivity(call, x, explain(x, TARGET), TARGET, samples=4, chunk_size=4)
    torch.testing.assert_close(few, found)


@pytest.mark.parametrize("chunk_size", [1, 4, 7, 10_000])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    explain, (x, _) = gradient(network()), pictures()
    call, seen = recorded(explain)
    whole = max_sensitivity(explain, x, None, TARGET)
    parts = max_sensitivity(call, x, None, TARGET, chunk_size=chunk_size)
    torch.testing.assert_close(whole, parts)
    assert max(map(len, seen)) <= chunk_size


def test_a_picture_scores_the_same_in_any_batch() -> None:
    explain, (x, _) = gradient(network()), pictures()
    state, whole = torch.get_rng_state(), max_sensitivity(explain, x, None, TARGET)
    alone = max_sensitivity(explain, x[3:4], None, 3)
    torch.testing.assert_close(whole[3:4], alone)
    assert not torch.equal(whole, max_sensitivity(explain, x, None, TARGET, seed=1))
    assert torch.equal(state, torch.get_rng_state())


def test_single_precision() -> None:
    x, _ = pictures()
    exact = max_sensitivity(gradient(network()), x, None, TARGET, radius=0.1)
    single = max_sensitivity(gradient(network().float()), x.float(), None, TARGET, radius=0.1)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0.0}, "radius=0.0"),
        ({"radius": -1.0}, "radius=-1.0"),
        ({"radius": torch.ones(3)}, "does not broadcast"),
        ({"samples": 0}, "samples=0"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"norm": 0.0}, "norm=0.0"),
        ({"target": torch.zeros(5, dtype=torch.long)}, "target has the shape"),
        ({"target": -1}, "outside"),
        ({"maps": torch.rand(6, 7, 8)}, "maps have the shape"),
        ({"maps": torch.rand(6, 8, 8)}, "do not fit the given"),
        ({"explain": lambda x, target: x * torch.nan}, "hold NaN"),
        ({"explain": lambda x, target: x.sum((2, 3))}, "maps have the shape"),
        ({"x": torch.rand(6, 192)}, "x has the shape"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    x, _ = pictures()
    call: dict[str, Any] = {"explain": lambda x, target: x, "x": x, "maps": None, "target": 0}
    with pytest.raises(MetricInputError, match=message):
        max_sensitivity(**{**call, **change})


@pytest.mark.parametrize(
    ("cls", "function"), [(MaxSensitivity, max_sensitivity), (AvgSensitivity, avg_sensitivity)]
)
def test_classes_gather_what_the_functions_give(
    cls: type[MaxSensitivity | AvgSensitivity], function: Callable[..., Tensor]
) -> None:
    explain, (x, _) = gradient(network()), pictures()
    metric = cls(explain, radius=0.1)
    metric.update(x[:4], None, TARGET[:4])
    metric.update(x[4:], explain(x[4:], TARGET[4:]), TARGET[4:])
    expected = function(explain, x, None, TARGET, radius=0.1)
    torch.testing.assert_close(metric.per_image(), expected)
    torch.testing.assert_close(metric.compute(), expected.mean())
