"""The random-logit test against a plain loop and against Quantus."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from torch import Tensor, nn

from biasmatters.metrics.functional import MetricInputError
from biasmatters.metrics.functional.explaining import Explain
from biasmatters.metrics.functional.random_logit import other_class, random_logit
from biasmatters.metrics.functional.similarity import Similarity, ssim
from biasmatters.metrics.random_logit import RandomLogit
from tests.metrics.oracle import shapes_case
from tests.metrics.test_mprt import edges, gradient

SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)


def network(classes: int = 4) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(6 * 64, classes),
        ).double()


def pictures(n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 8, 8, generator=generator, dtype=torch.float64)


def test_equals_a_plain_loop() -> None:
    net, x = network().eval(), pictures()
    found = {
        name: random_logit(net, gradient, x, similarity=name, seed=2)
        for name in ("ssim", "spearman")
    }
    draws = torch.Generator().manual_seed(2)
    steps = torch.randint(3, (4,), generator=draws).tolist()
    for i in range(len(x)):
        some = x[i : i + 1]
        own = int(net(some).argmax())
        other = (own + 1 + steps[own]) % 4
        p, q = (gradient(net)(some, torch.tensor([k])) for k in (own, other))
        assert float(found["ssim"][i]) == pytest.approx(float(ssim(p, q)), abs=1e-9)
        expected = spearmanr(p.sum(1).flatten(), q.sum(1).flatten())[0]
        assert float(found["spearman"][i]) == pytest.approx(expected, abs=1e-9)


@pytest.fixture
def quantus() -> Iterator[ModuleType]:
    """The library, with its warnings and its draws from the global generators kept to itself."""
    state = np.random.get_state()  # noqa: NPY002 - Quantus draws from it
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import quantus

        yield quantus
    np.random.set_state(state)  # noqa: NPY002


def test_equals_quantus_where_there_is_one_other_class(quantus: ModuleType) -> None:
    net, x = network(classes=2).eval().float(), pictures().float()
    labels = net(x).argmax(1).numpy()

    def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> Any:
        found = gradient(model)(torch.as_tensor(inputs), torch.as_tensor(targets))
        return found.sum(1, keepdim=True).numpy()

    metric = quantus.RandomLogit(
        similarity_func=quantus.functions.similarity_func.correlation_spearman,
        num_classes=2, abs=False, normalise=False, disable_warnings=True,
    )  # fmt: skip
    expected = metric(
        model=net, x_batch=x.numpy(), y_batch=labels, explain_func=explain, device="cpu"
    )
    found = random_logit(net, gradient, x, similarity="spearman")
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert float(found.max()) < 0.9


def test_the_other_class_is_even_seeded_and_another() -> None:
    target = torch.arange(10)
    drawn = torch.stack([other_class(target, 10, seed) for seed in range(2000)])
    assert bool((drawn != target).all())
    shares = torch.stack([(drawn == k).double().mean(0) for k in range(10)])
    wanted = (1 - torch.eye(10).double()) / 9
    torch.testing.assert_close(shares, wanted, atol=0.03, rtol=0)
    again = torch.tensor([3, 7, 3])
    assert torch.equal(other_class(again, 10, 1), other_class(target, 10, 1)[again])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_method_that_does_not_see_the_class_scores_one(name: Similarity) -> None:
    found = random_logit(network(), edges, pictures(), similarity=name)
    torch.testing.assert_close(found, torch.ones(7, dtype=torch.float64))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_gradient_sees_the_class_on_shapes(name: Similarity) -> None:
    case = shapes_case()

    def half_blind(net: nn.Module) -> Explain:
        """Mostly an edge detector, which sees no class."""
        sees, blind = gradient(net), edges(net)

        def explain(x: Tensor, target: Tensor) -> Tensor:
            maps = sees(x, target)
            return maps + 4 * maps.abs().mean() * blind(x, target)

        return explain

    sees, half, blind = (
        float(random_logit(case.model, method, case.x, similarity=name).mean())
        for method in (gradient, half_blind, edges)
    )
    assert sees + 0.05 < half < blind - 0.05


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_batches_and_chunks_change_nothing(chunk_size: int) -> None:
    net, x = network(), pictures()
    whole = random_logit(net, gradient, x)
    parts = random_logit(net, gradient, x, chunk_size=chunk_size)
    torch.testing.assert_close(whole, parts, atol=1e-9, rtol=0)
    turned = random_logit(net, gradient, x.flip(0), chunk_size=chunk_size)
    torch.testing.assert_close(whole, turned.flip(0), atol=1e-9, rtol=0)
    assert not torch.allclose(whole, random_logit(net, gradient, x, seed=1))


def test_the_given_class_is_explained() -> None:
    net, x = network(), pictures()
    predicted = net.eval()(x).argmax(1)
    assert torch.equal(random_logit(net, gradient, x, predicted), random_logit(net, gradient, x))
    least = net(x).argmin(1)
    assert not torch.allclose(random_logit(net, gradient, x, least), random_logit(net, gradient, x))


def test_single_precision() -> None:
    found = random_logit(network().float(), gradient, pictures().float())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, random_logit(network(), gradient, pictures()), atol=1e-4,
                               rtol=0)  # fmt: skip


def test_the_model_and_the_global_generator_come_back_as_they_were() -> None:
    net = network()
    net.train()
    net[0].eval()
    net[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    first = random_logit(net, gradient, pictures())
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in net.modules()] == [True, False, True, True, True, True]
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(first, random_logit(net.eval(), gradient, pictures()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(5, 128)}, "x has the shape"),
        ({"method": lambda net: lambda x, target: x[:, :, 1:]}, "maps have the shape"),
        ({"method": lambda net: lambda x, target: x / 0}, "7 of 7 maps hold NaN"),
        ({"target": 4}, "outside 0..3"),
        ({"target": torch.zeros(4, dtype=torch.long)}, "target has the shape"),
        ({"similarity": "pearson"}, "pearson"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"model": network(1)}, "single output"),
        ({"model": lambda x: x.flatten(1) * torch.nan}, "predicts no class"),
        ({"model": lambda x: x.sum((1, 2, 3))}, "must give"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    call: dict[str, Any] = {"model": network(), "method": gradient, "x": pictures(), **change}
    with pytest.raises(MetricInputError, match=message):
        random_logit(**call)


def test_the_class_gathers_what_the_function_gives() -> None:
    net, x = network(), pictures()
    metric = RandomLogit(net, gradient, similarity="cosine", seed=3)
    metric.update(x[:3])
    metric.update(x[3:], None)
    expected = random_logit(net, gradient, x, similarity="cosine", seed=3)
    torch.testing.assert_close(metric.per_image(), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.mean())
    metric.reset()
    assert metric.values == []
