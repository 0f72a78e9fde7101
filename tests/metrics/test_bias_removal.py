"""Taking biases away against copies of the network whose parameters are overwritten by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biasmatters.metrics.bias_removal import BiasRemovalAccuracy
from biasmatters.metrics.functional import MetricInputError, bias_ablation
from biasmatters.metrics.functional.bias_removal import BiasRemoval, RemovalOrder, bias_removal
from biasmatters.metrics.functional.biases import BatchNorm, Replace, bias_replacements
from tests.metrics.oracle import shapes_case

LAYERS = ("stem", "norm", "twice", "short", "plain", "head")


class Net(nn.Module):
    """Registered in another order than it runs; one layer runs twice, one never."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 6)
        self.idle = nn.Linear(4, 6)
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.free = nn.Conv2d(4, 4, 1, bias=False)
        self.short = nn.Conv2d(1, 4, 1)
        self.norm = nn.BatchNorm2d(4, eps=0.1)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.drop = nn.Dropout()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = x.to(self.idle.bias.dtype)  # a look at it is not a use
        y = torch.relu(self.norm(self.stem(x)))
        y = torch.relu(self.twice(torch.relu(self.twice(y))))
        y = self.plain(self.free(y) + self.short(x))
        return self.head(self.drop(y).relu().amax((2, 3)))


def network() -> Net:
    torch.manual_seed(1)
    model = Net().double()
    for norm in (model.norm, model.plain):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 2)
    with torch.no_grad():
        model.norm.weight.normal_()
        model.norm.bias.normal_()
        model.head.bias.normal_()
    return model


@pytest.fixture
def x() -> Tensor:
    return torch.randn(8, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1])


def overwrite(model: Net, layer: str, replace: Replace, batch_norm: BatchNorm) -> None:
    """Take one layer's bias away in place, with plain loops."""
    module = getattr(model, layer)
    if batch_norm == "effective" and isinstance(module, nn.BatchNorm2d):
        scale = [
            float(module.weight[i] if module.affine else 1) / float(var + module.eps) ** 0.5
            for i, var in enumerate(module.running_var)
        ]
        beta = [float(module.bias[i]) if module.affine else 0.0 for i in range(4)]
        effective = [beta[i] - scale[i] * float(module.running_mean[i]) for i in range(4)]
        level = sum(effective) / 4 if replace == "mean" else 0.0
        for i in range(4):  # by the mean alone where there is no beta
            module.running_mean[i] = 0.0 if module.affine else -level / scale[i]
            if module.affine:
                module.bias[i] = level
    elif getattr(module, "bias", None) is not None:
        level = float(module.bias.mean()) if replace == "mean" else 0.0
        module.bias.fill_(level)


def by_hand(
    model: Net, x: Tensor, chosen: list[str], replace: Replace, batch_norm: BatchNorm
) -> Tensor:
    changed = copy.deepcopy(model).eval()
    with torch.no_grad():
        for layer in chosen:
            overwrite(changed, layer, replace, batch_norm)
        return torch.cat([changed(picture[None]) for picture in x])


def chosen_by_hand(order: RemovalOrder, names: list[str]) -> list[list[str]]:
    if order == "all":
        return [[], names]
    if order == "each":
        return [[], *([name] for name in names)]
    if order == "top":
        return [names[len(names) - i :] for i in range(len(names) + 1)]
    return [names[:i] for i in range(len(names) + 1)]


@pytest.mark.parametrize("order", ["each", "top", "bottom", "all"])
@pytest.mark.parametrize("replace", ["zero", "mean"])
@pytest.mark.parametrize("batch_norm", ["effective", "parameter"])
def test_equals_copies_overwritten_by_hand(
    x: Tensor, order: RemovalOrder, replace: Replace, batch_norm: BatchNorm
) -> None:
    model = network()
    names = [n for n in LAYERS if batch_norm == "effective" or n != "plain"]
    found = bias_removal(model, x, LABELS, order=order, replace=replace, batch_norm=batch_norm)
    assert list(found.names) == names
    rows = chosen_by_hand(order, names)
    figures = found.figures()
    assert found.removed.tolist() == [[name in row for name in names] for row in rows]
    intact = by_hand(model, x, [], replace, batch_norm).argmax(1)
    for v, row in enumerate(rows):
        out = by_hand(model, x, row, replace, batch_norm)
        own = out[torch.arange(8), LABELS]
        torch.testing.assert_close(
            figures["confidence"][v], own.exp() / out.exp().sum(1), atol=1e-12, rtol=0
        )
        assert torch.equal(figures["rank"][v], (out >= own[:, None]).sum(1).float())
        assert torch.equal(figures["accuracy"][v], (out.argmax(1) == LABELS).float())
        assert torch.equal(figures["top5"][v], (out.argmin(1) != LABELS).float())  # six classes
        assert torch.equal(figures["unchanged"][v], (out.argmax(1) == intact).float())
    changed = (found.confidence - found.confidence[:1]).abs().amax(1)
    assert bool((changed[1:] > 1e-4).all()), "every variant must change something"


def test_names_of_variants(x: Tensor) -> None:
    def variants(order: RemovalOrder) -> tuple[str, ...]:
        return bias_removal(network(), x, LABELS, order=order).variants

    assert variants("each") == variants("bottom") == ("none", *LAYERS)
    assert variants("top") == ("none", *LAYERS[::-1])
    assert variants("all") == ("none", "all")


def test_a_network_worked_by_hand() -> None:
    # Hidden (x0 + 1, x1 - 3) rectified, logits (h0, 2 h1, 0) + (0, 1, 2.5), x = (2, 4).
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    model[0].weight.data, model[0].bias.data = torch.eye(2), torch.tensor([1.0, -3.0])
    model[2].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    model[2].bias.data = torch.tensor([0.0, 1.0, 2.5])
    x, label = torch.tensor([[2.0, 4.0]]), torch.tensor([2])
    logits = {
        "none": [3.0, 3.0, 2.5],
        "0": [2.0, 9.0, 2.5],
        "2": [3.0, 2.0, 0.0],
        "all": [2.0, 8.0, 0.0],
    }
    each = bias_removal(model, x, label)
    whole = bias_removal(model, x, label, order="all")
    assert each.variants == ("none", "0", "2")
    assert each.rank[:, 0].tolist() == [3, 2, 3]
    assert each.predicted[:, 0].tolist() == [0, 1, 0]
    assert "top5" not in each.figures()
    expected = {k: torch.tensor(v).softmax(0)[2] for k, v in logits.items()}
    for found, i, name in ((each, 0, "none"), (each, 1, "0"), (each, 2, "2"), (whole, 1, "all")):
        torch.testing.assert_close(found.confidence[i, 0], expected[name])
    mean = bias_removal(model, x, label, order="all", replace="mean")
    logits_of_means = torch.tensor([1.0, 6.0, 0.0]) + 3.5 / 3  # hidden (2 - 1, 4 - 1)
    torch.testing.assert_close(mean.confidence[1, 0], logits_of_means.softmax(0)[2])


def test_nothing_is_left_of_b_when_all_is_removed(x: Tensor) -> None:
    model = network().eval()
    found = bias_replacements(model, x)
    state = {k: v for entries in found.values() for k, v in entries.items()}

    def bare(v: Tensor) -> Tensor:
        out: Tensor = functional_call(model, state, (v,))
        return out

    parts = bias_ablation(bare, x)
    assert float(parts.weight.detach().abs().max()) > 0.1
    assert float(parts.bias.detach().abs().max()) < 1e-12
    torch.testing.assert_close(bare(3 * x), 3 * bare(x))


def fingerprint(model: nn.Module) -> tuple[object, ...]:
    return (
        {k: (id(v), v.clone()) for k, v in (*model.named_parameters(), *model.named_buffers())},
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [sorted(vars(m)) for m in model.modules()],
    )


def same(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    tensors, others = left[0], right[0]
    assert isinstance(tensors, dict)
    assert isinstance(others, dict)
    return left[1:] == right[1:] and all(
        i == others[k][0] and torch.equal(v, others[k][1]) for k, (i, v) in tensors.items()
    )


@pytest.mark.parametrize("replace", ["zero", "mean"])
def test_the_model_and_the_global_generator_come_back_as_they_were(
    x: Tensor, replace: Replace
) -> None:
    model = network().train()
    model.norm.eval()
    model.stem.weight.requires_grad_(False)
    before, state = fingerprint(model), torch.get_rng_state()
    first = bias_removal(model, x, LABELS, order="top", replace=replace)
    with torch.inference_mode():
        inside = bias_removal(model, x, LABELS, order="top", replace=replace)
    assert same(before, fingerprint(model))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.confidence, inside.confidence)
    assert not first.confidence.requires_grad
    assert not x.requires_grad
    model(x).sum().backward()  # it still learns
    assert model.head.bias.grad is not None


@pytest.mark.parametrize("after", [1, 2, 4])
def test_the_model_comes_back_after_an_exception(x: Tensor, after: int) -> None:
    class Tired(Net):
        runs = 0

        def forward(self, x: Tensor) -> Tensor:
            self.tire()
            return super().forward(x)

        @classmethod
        def tire(cls) -> None:
            cls.runs += 1
            if cls.runs == after:
                raise RuntimeError("tired")

    model = Tired().double().train()
    before = fingerprint(model)
    with pytest.raises(RuntimeError, match="tired"):
        bias_removal(model, x, LABELS)
    assert same(before, fingerprint(model))


def test_a_users_own_hooks_still_run_and_stay(x: Tensor) -> None:
    model, seen = network(), []
    handle = model.head.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    bias_removal(model, x, LABELS, order="all")
    assert seen == [2, 8, 8]  # two pictures to find the layers, then the two variants
    assert len(model.head._forward_hooks) == 1
    handle.remove()


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunks_change_nothing(x: Tensor, chunk_size: int) -> None:
    whole = bias_removal(network(), x, LABELS)
    parts = bias_removal(network(), x, LABELS, chunk_size=chunk_size)
    torch.testing.assert_close(whole.confidence, parts.confidence, atol=1e-12, rtol=0)
    assert torch.equal(whole.rank, parts.rank)
    assert torch.equal(whole.predicted, parts.predicted)


def test_a_picture_scores_the_same_in_any_batch(x: Tensor) -> None:
    whole = bias_removal(network(), x, LABELS)
    alone = bias_removal(network(), x[5:6], LABELS[5:6])
    torch.testing.assert_close(whole.confidence[:, 5:6], alone.confidence, atol=1e-12, rtol=0)


def test_a_trained_network_suffers_and_right_labels_stand_better() -> None:
    case = shapes_case()

    def means(labels: Tensor, order: RemovalOrder) -> dict[str, Tensor]:
        found: BiasRemoval = bias_removal(case.model, case.x, labels, order=order)
        return {name: values.mean(1) for name, values in found.figures().items()}

    right, other = means(case.target, "top"), means((case.target + 1) % 5, "top")
    assert right["accuracy"][0] == 1
    assert bool((right["confidence"][1:] < right["confidence"][0]).all())
    assert bool((right["confidence"] > other["confidence"]).all())
    assert bool((right["rank"] < other["rank"]).all())
    torch.testing.assert_close(right["accuracy"], right["unchanged"])


def test_metric_gathers_over_batches(x: Tensor) -> None:
    model = network().train()
    metric = BiasRemovalAccuracy(model, order="bottom", replace="mean", chunk_size=2)
    with pytest.raises(MetricInputError, match="call update first"):
        metric.removal()
    metric.update(x[:5], LABELS[:5])
    metric.update(x[5:], LABELS[5:])
    expected = bias_removal(model, x, LABELS, order="bottom", replace="mean")
    found = metric.removal()
    assert found.variants == expected.variants
    for name, values in expected.figures().items():
        torch.testing.assert_close(metric.per_image()[name], values)
        torch.testing.assert_close(metric.compute()[name], values.mean(1))
    metric.eval()
    assert model.training
    metric.reset()
    assert metric.rank == []


class Forked(nn.Module):
    """Takes one of two layers, by the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.high(x) if float(x[0, 0]) > 0 else self.low(x)
        return out


def test_batches_that_take_different_ways_are_refused() -> None:
    metric = BiasRemovalAccuracy(Forked())
    metric.update(torch.ones(2, 2), torch.tensor([0, 1]))
    with pytest.raises(MetricInputError, match=r"\('low',\), those before through \('high',\)"):
        metric.update(-torch.ones(2, 2), torch.tensor([0, 1]))


def free() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 6, bias=False), nn.LayerNorm(6, bias=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": lambda v: v}, "function has no parameters"),
        ({"model": "free"}, "Sequential uses no bias"),
        ({"model": "wide"}, "must give"),
        ({"model": "broken"}, "NaN or infinity"),
        ({"labels": LABELS + 1}, "outside 0..5"),
        ({"labels": LABELS[:3]}, "target has the shape"),
        ({"labels": LABELS.double()}, "integer class indices"),
        ({"x": torch.ones(8, 1, 6, 6, dtype=torch.int64)}, "floating point"),
        ({"x": torch.ones(0, 1, 6, 6)}, "non-empty"),
        ({"order": "middle"}, "order='middle'"),
        ({"replace": "noise"}, "replace='noise'"),
        ({"batch_norm": "folded"}, "batch_norm='folded'"),
        ({"chunk_size": 0}, "chunk_size=0"),
    ],
)
def test_bad_input_is_refused(x: Tensor, change: dict[str, object], message: str) -> None:
    broken = nn.Sequential(nn.Flatten(), nn.Linear(36, 6))
    nn.init.constant_(broken[1].bias, torch.nan)
    models: dict[object, nn.Module] = {
        "free": free(),
        "wide": nn.Conv2d(1, 6, 1).double(),
        "broken": broken.double(),
    }
    call: dict[str, object] = {"model": network(), "x": x, "labels": LABELS, **change}
    if isinstance(call["model"], str):
        call["model"] = models[call["model"]].double()
    removal: Callable[..., BiasRemoval] = bias_removal
    with pytest.raises(MetricInputError, match=message):
        removal(**call)
