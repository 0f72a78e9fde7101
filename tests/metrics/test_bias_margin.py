"""The figures of the bias ablation against a dense Jacobian and plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biasmatters.metrics.bias_margin import BiasAblationSuite
from biasmatters.metrics.functional import MetricInputError, bias_ablation
from biasmatters.metrics.functional.ablation import BiasAblation
from biasmatters.metrics.functional.bias_margin import (
    ablation_figures,
    bias_margin,
    with_mean_bias,
)
from biasmatters.metrics.functional.standing import label_confidence, label_rank, label_standing
from tests.metrics.oracle import shapes_case

Array = NDArray[np.float64]
CLASSES = 7


def network() -> nn.Sequential:
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3),
        nn.BatchNorm2d(5),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(45, CLASSES),
    ).double()
    model[1].running_mean.data.normal_()
    model[1].running_var.data.uniform_(0.2, 2)
    return model


@pytest.fixture
def x() -> Tensor:
    return torch.randn(9, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 1])


def dense_split(model: nn.Module, x: Tensor) -> tuple[Array, Array]:
    """f and w.x, one picture and one class at a time."""
    out, weight = np.zeros((len(x), CLASSES)), np.zeros((len(x), CLASSES))
    model.eval()
    for i, picture in enumerate(x):
        for k in range(CLASSES):
            leaf = picture[None].clone().requires_grad_()
            logit = model(leaf)[0, k]
            (row,) = torch.autograd.grad(logit, leaf)
            out[i, k], weight[i, k] = logit.item(), (row * leaf.detach()).sum().item()
    return out, weight


def numpy_standing(row: Array, label: int) -> tuple[float, float]:
    share = np.exp(row) / np.exp(row).sum()
    visits = sorted(range(len(row)), key=lambda k: (-row[k], k))
    return float(share[label]), float(visits.index(label) + 1)


def numpy_figures(out: Array, weight: Array, labels: list[int]) -> dict[str, list[float]]:
    bias = out - weight
    parts = {"all": out, "weight": weight, "bias": bias, "mean_bias": weight + bias.mean(0)}
    found: dict[str, list[float]] = {}
    for i, label in enumerate(labels):
        top = {name: int(part[i].argmax()) for name, part in parts.items()}
        row: dict[str, float] = {}
        for name, part in parts.items():
            confidence, rank = numpy_standing(part[i], label)
            row[f"confidence_{name}"], row[f"rank_{name}"] = confidence, rank
            row[f"accuracy_{name}"] = float(top[name] == label)
            row[f"top5_{name}"] = float(rank in (1, 2, 3, 4, 5))
        for one, other in (("all", "weight"), ("all", "bias"), ("weight", "bias")):
            row[f"agree_{one}_{other}"] = float(top[one] == top[other])
        row["changes_without_bias"] = float(top["all"] != top["weight"])
        row["changes_with_mean_bias"] = float(top["all"] != top["mean_bias"])
        second, first = np.argsort(out[i])[-2:]
        row["margin"] = float(out[i, first] - out[i, second])
        row["margin_weight"] = float(weight[i, first] - weight[i, second])
        row["margin_bias"] = float(bias[i, first] - bias[i, second])
        row["bias_supports"] = float(row["margin_bias"] > 0)
        row["bias_share"] = row["margin_bias"] / row["margin"]
        row["weight_share"] = row["margin_weight"] / row["margin"]
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return found


def test_equals_numpy_on_the_dense_jacobian(x: Tensor) -> None:
    model = network()
    parts = bias_ablation(model, x)
    found = ablation_figures(parts, LABELS, mean_bias=parts.bias.mean(0))
    expected = numpy_figures(*dense_split(model, x), LABELS.tolist())
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)
    # the case tells something only where the parts disagree
    for name in ("agree_all_weight", "agree_all_bias", "bias_supports", "accuracy_all"):
        assert 0 < float(found[name].mean()) < 1, name


def by_hand() -> tuple[nn.Sequential, Tensor]:
    """Hidden: (x0 + 1, x1 - 3) rectified; logits (h0, 2 h1, 0) + (0, 1, 2.5)."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    model[0].weight.data, model[0].bias.data = torch.eye(2), torch.tensor([1.0, -3.0])
    model[2].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    model[2].bias.data = torch.tensor([0.0, 1.0, 2.5])
    return model, torch.tensor([[2.0, 4.0], [1.0, 2.0]])


def test_a_network_worked_by_hand() -> None:
    # Picture 0: h = (3, 1): f = (3, 3, 2.5); w.x = (2, 8, 0); b = (1, -5, 2.5).
    # Picture 1: h = (2, 0): f = (2, 1, 2.5); w.x = (1, 0, 0); b = (1, 1, 2.5).
    model, x = by_hand()
    parts = bias_ablation(model, x)
    assert parts.all.tolist() == [[3, 3, 2.5], [2, 1, 2.5]]
    assert parts.weight.tolist() == [[2, 8, 0], [1, 0, 0]]
    mean = parts.bias.mean(0)
    assert mean.tolist() == [1, -2, 2.5]
    found = ablation_figures(parts, torch.tensor([1, 2]), mean_bias=mean)
    assert "top5_all" not in found  # three classes
    assert found["rank_all"].tolist() == [2, 1]  # of equal logits the first class leads
    assert found["rank_weight"].tolist() == [1, 3]
    assert found["rank_bias"].tolist() == [3, 1]
    assert found["rank_mean_bias"].tolist() == [1, 1]  # (3, 6, 2.5) and (2, -2, 2.5)
    assert found["agree_all_weight"].tolist() == [0, 0]
    assert found["agree_all_bias"].tolist() == [0, 1]
    assert found["agree_weight_bias"].tolist() == [0, 0]
    assert found["changes_with_mean_bias"].tolist() == [1, 0]
    assert found["margin"].tolist() == [0, 0.5]
    assert found["margin_bias"].tolist() == [6, 1.5]
    assert found["margin_weight"].tolist() == [-6, -1]
    assert found["bias_share"].isnan().tolist() == [True, False]
    assert found["bias_share"][1] == 3
    assert found["weight_share"][1] == -2
    of_label = bias_margin(parts, torch.tensor([1, 0]))
    assert of_label.runner_up.tolist() == [0, 2]
    assert of_label.margin.tolist() == [0, -0.5]
    assert of_label.bias.tolist() == [-6, -1.5]
    assert of_label.bias_share[1] == 3  # the same pair of classes the other way round


def test_without_bias_the_share_is_nothing_and_of_a_constant_it_is_all(x: Tensor) -> None:
    torch.manual_seed(0)
    free = nn.Sequential(nn.Flatten(), nn.Linear(64, 9, bias=False), nn.ReLU()).double()
    parts = bias_ablation(free, x)
    assert float(bias_margin(parts).bias_share.abs().max()) < 1e-12
    assert float(ablation_figures(parts, 0)["changes_without_bias"].sum()) == 0
    ramp = torch.arange(4.0, dtype=torch.float64)
    constant = bias_ablation(lambda v: ramp.expand(len(v), 4), x)
    assert bias_margin(constant).bias_share.tolist() == [1] * len(x)


def test_share_of_a_linear_model_grows_with_its_bias() -> None:
    x = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    weight = torch.stack([torch.ones(3), torch.zeros(3)])
    shares = []
    for size in (0.0, 1.0, 4.0):
        model = nn.Linear(3, 2)
        model.weight.data, model.bias.data = weight, torch.tensor([size, 0.0])
        shares.append(bias_margin(bias_ablation(model, x)).bias_share)
        torch.testing.assert_close(shares[-1], size / (size + x.sum(1)))
    assert bool((shares[0] < shares[1]).all())
    assert bool((shares[1] < shares[2]).all())


def test_mean_bias_of_one_picture_is_its_own(x: Tensor) -> None:
    parts = bias_ablation(network(), x)
    alone = BiasAblation(parts.all[:1], parts.weight[:1], parts.bias[:1])
    again = with_mean_bias(alone, alone.bias.mean(0))
    torch.testing.assert_close(again.all, alone.all)
    moved = with_mean_bias(parts, parts.bias.mean(0))
    torch.testing.assert_close(moved.all - moved.bias, parts.weight)
    assert torch.equal(moved.bias[0], moved.bias[5])


def test_a_picture_has_the_same_figures_in_any_batch(x: Tensor) -> None:
    model = network()
    whole, alone = bias_ablation(model, x), bias_ablation(model, x[4:5])
    mean = whole.bias.mean(0)
    one = ablation_figures(alone, LABELS[4:5], mean_bias=mean)
    for name, values in ablation_figures(whole, LABELS, mean_bias=mean).items():
        torch.testing.assert_close(values[4:5], one[name], msg=name)


def test_suite_takes_the_mean_over_all_batches(x: Tensor) -> None:
    model, suite = network().train(), BiasAblationSuite(network().train())
    for rows in (slice(0, 2), slice(2, 7), slice(7, 9)):
        suite.update(x[rows], LABELS[rows])
    expected = numpy_figures(*dense_split(model, x), LABELS.tolist())
    figures, found = suite.per_image(), suite.compute()
    assert set(figures) == set(expected)
    for name, values in figures.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)
        assert values.shape == (9,)
        if not name.endswith("_share"):
            assert float(found[name]) == pytest.approx(float(np.mean(expected[name]))), name
    share, bias = np.asarray(expected["bias_share"]), np.asarray(expected["margin_bias"])
    assert float(found["bias_share_median"]) == pytest.approx(float(np.median(share)))
    pooled = float(bias.sum() / np.sum(expected["margin"]))
    assert float(found["bias_share_pooled"]) == pytest.approx(pooled)
    assert float(found["weight_share_pooled"]) == pytest.approx(1 - pooled)
    assert float(found["weight_share_median"]) == pytest.approx(1 - float(np.median(share)))
    assert all(value.ndim == 0 for value in found.values())
    suite.reset()
    with pytest.raises(MetricInputError, match="call update first"):
        suite.per_image()


def test_suite_follows_the_label_on_demand_and_leaves_the_model_alone(x: Tensor) -> None:
    model = network().train()
    suite = BiasAblationSuite(model, margin_of="label", mode="reverse")
    suite.update(x, LABELS)
    wrong = suite.per_image()["accuracy_all"] == 0
    assert bool((suite.per_image()["margin"][wrong] < 0).all())
    assert bool((suite.per_image()["margin"][~wrong] > 0).all())
    suite.eval()
    assert model.training
    with pytest.raises(MetricInputError, match=r"outside 0\.\.6"):
        suite.update(x, LABELS + 1)
    assert suite.per_image()["margin"].shape == (9,)


def test_right_labels_stand_better_than_others_on_a_trained_network() -> None:
    case = shapes_case()
    parts = bias_ablation(case.model, case.x)
    right = ablation_figures(parts, case.target)
    other = ablation_figures(parts, (case.target + 1) % 5)
    assert float(right["accuracy_all"].mean()) == 1
    assert bool((right["rank_all"] < other["rank_all"]).all())
    assert float(right["confidence_all"].mean()) > float(right["confidence_weight"].mean())
    assert float(right["rank_weight"].mean()) < float(other["rank_weight"].mean())


def test_standing_on_ties_and_many_classes() -> None:
    logits = torch.zeros(6, 6)
    assert label_rank(logits, torch.arange(6)).tolist() == [1, 2, 3, 4, 5, 6]
    found = label_standing(logits, torch.arange(6))
    assert found["accuracy"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["top5"].tolist() == [1, 1, 1, 1, 1, 0]
    assert "top5" not in label_standing(torch.zeros(1, 5), 0)
    torch.testing.assert_close(label_confidence(logits, 3), torch.full((6,), 1 / 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(8, dtype=torch.long)}, "target has the shape"),
        ({"labels": torch.full((9,), CLASSES)}, "outside 0..6"),
        ({"labels": torch.zeros(9)}, "integer class indices"),
        ({"mean_bias": torch.zeros(3)}, "mean has the shape"),
        ({"margin_of": "loser"}, "margin_of='loser'"),
    ],
)
def test_bad_input_is_refused(x: Tensor, change: dict[str, object], message: str) -> None:
    call: dict[str, object] = {"labels": LABELS, **change}
    with pytest.raises(MetricInputError, match=message):
        ablation_figures(bias_ablation(network(), x), **call)  # type: ignore[arg-type]


def test_logits_that_have_no_order_are_refused() -> None:
    one = torch.ones(4, 1)
    with pytest.raises(MetricInputError, match="no runner-up"):
        bias_margin(BiasAblation(one, one, one))
    with pytest.raises(MetricInputError, match="NaN or infinity"):
        label_rank(torch.tensor([[1.0, torch.nan]]), 0)
    with pytest.raises(MetricInputError, match="give floating-point"):
        label_confidence(torch.ones(3), 0)
    with pytest.raises(MetricInputError, match="give floating-point"):
        label_rank(torch.ones(3, 2, dtype=torch.int64), 0)
