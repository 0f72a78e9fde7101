"""The model parameter randomisation test against a plain loop and against Quantus."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from torch import Tensor, nn

from biasmatters.metrics.functional import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.explaining import Explain
from biasmatters.metrics.functional.mprt import mprt
from biasmatters.metrics.functional.randomization import LayerOrder, layer_steps, randomized
from biasmatters.metrics.functional.similarity import Similarity, ssim
from biasmatters.metrics.randomization import Mprt
from tests.metrics.oracle import shapes_case

SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
ORDERS: tuple[LayerOrder, ...] = get_args(LayerOrder)


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Sequential(nn.Linear(6 * 64, 12), nn.Tanh()),
            nn.Linear(12, 4),
        )
        for parameter in net[1].parameters():
            nn.init.normal_(parameter)
        nn.init.normal_(net[1].running_mean)
        nn.init.uniform_(net[1].running_var, 1, 2)
    return net.to(dtype)


def pictures(n: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 8, 8, generator=generator, dtype=torch.float64)


def gradient(net: nn.Module) -> Explain:
    def explain(x: Tensor, target: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        with torch.enable_grad():
            picked = net(x).gather(1, target[:, None]).sum()
        return torch.autograd.grad(picked, x)[0]

    return explain


def edges(net: nn.Module) -> Explain:
    """Looks at the picture and not at the network."""
    return lambda x, target: (x - x.roll(1, -1)).abs()


def test_equals_a_plain_loop() -> None:
    net, x, names = network(), pictures(), ["6", "5.0", "1", "0"]
    found = mprt(net, gradient, x, seed=5)
    assert found.layers == tuple(names)
    assert tuple(found.scores) == ("spearman", "spearman_absolute", "ssim")

    copy = deepcopy(net).eval()
    places = [name for name, _ in net.named_modules()]
    draws = torch.Generator().manual_seed(5)
    seeds = torch.randint(2**62, (len(places),), generator=draws).tolist()
    classes = [int(copy(x[i : i + 1]).argmax()) for i in range(len(x))]
    assert found.target.tolist() == classes
    intact = [gradient(copy)(x[i : i + 1], torch.tensor([c])) for i, c in enumerate(classes)]
    for place, name in enumerate(names):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds[places.index(name)])
            copy.get_submodule(name).reset_parameters()
        for i, (c, before) in enumerate(zip(classes, intact, strict=True)):
            after = gradient(copy)(x[i : i + 1], torch.tensor([c]))
            p, q = after.sum(1).numpy(), before.sum(1).numpy()
            expected = {
                "spearman": spearmanr(p.ravel(), q.ravel())[0],
                "spearman_absolute": spearmanr(abs(p).ravel(), abs(q).ravel())[0],
                "ssim": float(ssim(after, before)),
            }
            for key, value in expected.items():
                assert float(found.scores[key][i, place]) == pytest.approx(value, abs=1e-9)


class Ramp(nn.Linear):
    """Random in the same way whatever the seed, so that two libraries draw the same weights."""

    def reset_parameters(self) -> None:
        generator = torch.Generator().manual_seed(self.in_features)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 4


@pytest.fixture
def quantus() -> Iterator[ModuleType]:
    """The library, with its warnings and its draws from the global generators kept to itself."""
    state = np.random.get_state()  # noqa: NPY002 - Quantus draws from it
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import quantus

        yield quantus
    np.random.set_state(state)  # noqa: NPY002


@pytest.mark.parametrize(
    ("order", "theirs"), [("cascading", "top_down"), ("bottom_up", "bottom_up")]
)
def test_equals_quantus(order: LayerOrder, theirs: str, quantus: ModuleType) -> None:
    net = nn.Sequential(nn.Flatten(), Ramp(64, 9), nn.Tanh(), Ramp(9, 7), nn.Tanh(), Ramp(7, 3))
    for parameter in net.parameters():
        parameter.data = parameter.data.flip(-1) + 0.1
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = net(x).argmax(1).numpy()

    def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> Any:
        return gradient(model)(torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

    metric = quantus.MPRT(layer_order=theirs, abs=False, normalise=False, disable_warnings=True)
    expected = metric(
        model=net, x_batch=x.numpy(), y_batch=labels, explain_func=explain, device="cpu"
    )
    found = mprt(net, gradient, x, order=order)
    assert ["original", *found.layers] == list(expected)
    for layer in found.layers:
        np.testing.assert_allclose(found.at("spearman", layer), expected[layer], atol=1e-9)
    assert float(found.mean["spearman"].abs().max()) < 0.9


@pytest.mark.parametrize("order", ORDERS)
def test_an_edge_detector_scores_one_everywhere(order: LayerOrder) -> None:
    found = mprt(network(), edges, pictures(), order=order, similarities=SIMILARITIES)
    for scores in found.scores.values():
        assert scores.shape == (5, 4)
        torch.testing.assert_close(scores, torch.ones(5, 4, dtype=torch.float64))


def test_oracle_of_the_weights_beats_the_edge_detector_on_shapes() -> None:
    case = shapes_case()
    found = mprt(case.model, gradient, case.x[:32], similarities=SIMILARITIES)
    assert found.layers == ("7", "3", "0")
    blind = mprt(case.model, edges, case.x[:32], similarities=SIMILARITIES)
    for name, scores in found.scores.items():
        assert float(scores[:, 0].mean()) < 0.75, name
        assert float(found.mean[name].mean()) < float(blind.mean[name].mean()) - 0.3
    assert float(found.at("spearman", "7").abs().mean()) < 0.5


def test_signed_and_absolute_ranks_disagree_on_a_method_that_only_flips() -> None:
    """Adebayo et al. found verdicts that turn on the absolute value."""

    def flips(net: nn.Module) -> Explain:
        sign = net[6].weight.sum().sign()
        return lambda x, target: sign * x

    net = network()
    signs = {seed: mprt(net, flips, pictures(), layers=["6"], seed=seed) for seed in range(8)}
    assert all(found.mean["spearman_absolute"].allclose(torch.ones(()).double())
               for found in signs.values())  # fmt: skip
    assert {round(float(f.mean["spearman"].mean())) for f in signs.values()} == {-1, 1}


@pytest.mark.parametrize("order", ORDERS)
def test_the_model_and_the_global_generator_are_untouched(order: LayerOrder) -> None:
    net, x = network(), pictures()
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    calls: list[int] = []
    net.register_forward_pre_hook(lambda module, args: calls.append(id(module)))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    first = mprt(net, gradient, x, order=order)
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in net.modules()] == [True, True, False, *[True] * 7]
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 7
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert calls
    assert id(net) not in calls
    again = mprt(net, gradient, x, order=order)
    other = mprt(net, gradient, x, order=order, seed=1)
    assert torch.equal(first.scores["ssim"], again.scores["ssim"])
    assert not torch.equal(first.scores["ssim"], other.scores["ssim"])


def test_orders_share_their_draws() -> None:
    net, x = network(), pictures()
    down, up, alone = (mprt(net, gradient, x, order=order).scores["spearman"]
                       for order in ("cascading", "bottom_up", "independent"))  # fmt: skip
    torch.testing.assert_close(down[:, 0], alone[:, 0])
    torch.testing.assert_close(up[:, 0], alone[:, -1])
    torch.testing.assert_close(down[:, -1], up[:, -1])
    assert not torch.allclose(down[:, 1], alone[:, 1])
    chosen = mprt(net, gradient, x, layers=["5.0", "0"], order="independent")
    torch.testing.assert_close(chosen.scores["spearman"], alone[:, [1, 3]])


def changed(net: nn.Module, copy: nn.Module) -> list[str]:
    pairs = zip(net.named_parameters(), copy.parameters(), strict=True)
    return sorted({name.rpartition(".")[0] for (name, p), q in pairs if not torch.equal(p, q)})


def test_layers_that_are_random_at_each_step() -> None:
    net = network()
    steps = layer_steps(net)
    copies = [changed(net, copy) for _, copy in randomized(net, steps)]
    assert copies == [["6"], ["5.0", "6"], ["1", "5.0", "6"], ["0", "1", "5.0", "6"]]
    copies = [changed(net, copy) for _, copy in randomized(net, steps, alone=True)]
    assert copies == [["6"], ["5.0"], ["1"], ["0"]]
    blocks = layer_steps(net, ["5", "0"], "bottom_up")
    copies = [changed(net, copy) for _, copy in randomized(net, blocks)]
    assert (list(blocks), copies) == (["0", "5"], [["0"], ["0", "5.0"]])
    assert not any(copy.training for _, copy in randomized(net.train(), steps))


def test_batch_norm_forgets_its_statistics() -> None:
    net = network()
    *_, (_, copy) = randomized(net, layer_steps(net))
    norm = copy[1]
    assert norm.weight.unique().tolist() == norm.running_var.unique().tolist() == [1.0]
    assert norm.bias.unique().tolist() == norm.running_mean.unique().tolist() == [0.0]
    bare = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False))
    assert list(layer_steps(bare)) == ["1", "0"]


def test_attention_is_drawn_anew() -> None:
    net = nn.MultiheadAttention(4, 2)
    with torch.random.fork_rng(devices=[]):
        (_, copy), *_ = randomized(net, layer_steps(net, ["out_proj", ""]), alone=True)
        assert changed(net, copy) == ["out_proj"]
        *_, (_, copy) = randomized(net, layer_steps(net))
    assert changed(net, copy) == ["", "out_proj"]


@pytest.mark.parametrize("chunk_size", [1, 2, 100])
def test_batches_and_chunks_change_nothing(chunk_size: int) -> None:
    net, x = network(), pictures()
    whole, parts = mprt(net, gradient, x), mprt(net, gradient, x, chunk_size=chunk_size)
    alone = mprt(net, gradient, x[3:4], chunk_size=chunk_size)
    for name, scores in whole.scores.items():
        torch.testing.assert_close(scores, parts.scores[name], atol=1e-9, rtol=0)
        torch.testing.assert_close(scores[3:4], alone.scores[name], atol=1e-9, rtol=0)
    assert torch.equal(whole.target, parts.target)


def test_figures_have_the_names_of_their_layers() -> None:
    found = mprt(network(), gradient, pictures(), layers=["6", "0"], similarities=["ssim"])
    figures = found.per_image()
    assert list(figures) == ["ssim", "ssim/6", "ssim/0"]
    assert torch.equal(figures["ssim/0"], found.scores["ssim"][:, 1])
    torch.testing.assert_close(figures["ssim"], (figures["ssim/6"] + figures["ssim/0"]) / 2)


def test_single_precision() -> None:
    found = mprt(network(torch.float32), gradient, pictures().float())
    assert all(scores.dtype == torch.float64 for scores in found.scores.values())


def test_the_class_is_that_of_the_intact_model() -> None:
    net, x, asked = network(), pictures(), []

    def spy(copy: nn.Module) -> Explain:
        def explain(some: Tensor, target: Tensor) -> Tensor:
            asked.append((id(explain), target.tolist()))
            return gradient(copy)(some, target)

        return explain

    predicted = net.eval()(x).argmax(1)
    found = mprt(net, spy, x)
    assert [target for _, target in asked] == [predicted.tolist()] * 5
    assert torch.equal(found.target, predicted)
    given = mprt(net, gradient, x, predicted)
    assert torch.equal(given.scores["ssim"], found.scores["ssim"])
    assert mprt(net, gradient, x, 2).target.tolist() == [2] * 5


def test_the_method_is_bound_anew_for_every_layer() -> None:
    """A method may keep what it computed of the model that it was bound to."""

    def caching(copy: nn.Module) -> Explain:
        weight = copy[0].weight.detach().clone().sum((0, 1)).repeat(3, 3)[:8, :8]
        return lambda x, target: x * weight

    scores = mprt(network(), caching, pictures()).scores["spearman"]
    torch.testing.assert_close(scores[:, :3], torch.ones(5, 3, dtype=torch.float64))
    assert float(scores[:, 3].max()) < 0.99


def test_constant_maps_warn() -> None:
    with pytest.warns(ConstantMapWarning, match="5 of 5 pairs hold a constant map"):
        found = mprt(network(), lambda net: lambda x, target: 0 * x, pictures())
    assert all(scores.unique().tolist() == [1.0] for scores in found.scores.values())


class Prompt(nn.Module):
    """Holds a parameter, and does not say how it is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(2, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def test_parameters_that_nobody_draws_are_refused_unless_layers_are_named() -> None:
    net = nn.Sequential(Prompt(), *network(torch.float32))
    with pytest.raises(MetricInputError, match=r"\['0'\] hold parameters but have no reset"):
        mprt(net, gradient, pictures().float())
    assert mprt(net, gradient, pictures().float(), layers=["7"]).layers == ("7",)


class Stubborn(nn.Linear):
    def reset_parameters(self) -> None:
        if self.bias is not None:
            nn.init.normal_(self.bias)


def test_a_layer_that_resists_is_refused() -> None:
    net, x = network(), pictures()
    net[6] = nn.utils.parametrizations.weight_norm(net[6])
    with pytest.raises(MetricInputError, match="hold parameters but have no reset"):
        mprt(net, gradient, x)
    with pytest.raises(MetricInputError, match="'6' left its weights as they were"):
        mprt(net, gradient, x, layers=["6"])
    net[6] = Stubborn(12, 4).double()
    nn.init.normal_(net[6].weight)
    with pytest.raises(MetricInputError, match=r"'6' left \['weight'\] as they were"):
        mprt(net, gradient, x)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    net = network()
    net.leftover = net(pictures())
    with pytest.raises(MetricInputError, match="cannot be copied"):
        mprt(net, gradient, pictures())


def broken_later(net: nn.Module) -> Explain:
    first = network()[6].weight
    return lambda x, target: x if torch.equal(first, net[6].weight) else x * torch.nan


def test_an_error_names_the_layer() -> None:
    with pytest.raises(MetricInputError, match="5 of 5 maps hold NaN") as caught:
        mprt(network(), broken_later, pictures())
    assert caught.value.__notes__ == ["This came up once the layer '6' was random."]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(5, 128)}, "x has the shape"),
        ({"x": torch.full((5, 2, 8, 8), torch.nan)}, "NaN or infinite pixels"),
        ({"method": lambda net: lambda x, target: x[:, :, 1:]}, "maps have the shape"),
        ({"method": lambda net: lambda x, target: x / 0}, "5 of 5 maps hold NaN"),
        ({"target": 4}, "outside 0..3"),
        ({"target": torch.zeros(4, dtype=torch.long)}, "target has the shape"),
        ({"order": "top_down"}, "order='top_down'"),
        ({"layers": ["7"]}, r"not \['7'\]; choose from \['0', '1', '5.0', '6'\]"),
        ({"layers": ["2"]}, r"not \['2'\]"),
        ({"layers": ["6", "6"]}, "give each once"),
        ({"layers": []}, "no layer that could be randomised"),
        ({"similarities": ["pearson"]}, "pearson"),
        ({"similarities": ["ssim", "ssim"]}, "each once"),
        ({"similarities": []}, "cannot be; choose"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"model": lambda x: x}, "wrap it"),
        ({"model": nn.Flatten()}, "no layer that could be randomised"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    call: dict[str, Any] = {"model": network(), "method": gradient, "x": pictures(), **change}
    with pytest.raises(MetricInputError, match=message):
        mprt(**call)


def test_logits_that_are_not_finite_are_refused() -> None:
    net = network()
    net[6].bias.data.fill_(torch.nan)
    with pytest.raises(MetricInputError, match="predicts no class"):
        mprt(net, edges, pictures())


def test_the_class_gathers_what_the_function_gives() -> None:
    net, x = network(), pictures()
    metric = Mprt(net, gradient, similarities=("ssim", "cosine"), seed=3)
    with pytest.raises(MetricInputError, match="call update first"):
        metric.randomization()
    metric.update(x[:3])
    metric.update(x[3:], None)
    expected = mprt(net, gradient, x, similarities=("ssim", "cosine"), seed=3)
    found = metric.randomization()
    assert found.layers == expected.layers
    for name, scores in expected.scores.items():
        torch.testing.assert_close(found.scores[name], scores, atol=1e-9, rtol=0)
        torch.testing.assert_close(found.mean[name], scores.mean(1), atol=1e-9, rtol=0)
    assert torch.equal(found.target, expected.target)
    means = torch.stack([scores.mean() for scores in expected.scores.values()])
    torch.testing.assert_close(metric.compute(), means)
    metric.reset()
    assert metric.values == []
