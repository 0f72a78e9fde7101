"""The bias ablation against the dense Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from biasmatters.metrics import BiasAblationAccuracy
from biasmatters.metrics.functional import MetricInputError, bias_ablation
from biasmatters.metrics.functional.ablation import AblationMode


def network(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, bias=bias),
        nn.Hardtanh(-0.2, 0.2) if bias else nn.LeakyReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4, 3, bias=bias),
    ).double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(7, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_equals_the_dense_jacobian(x: Tensor, mode: AblationMode) -> None:
    model = network()
    parts = bias_ablation(model, x, mode=mode)
    model.eval()
    for i in range(len(x)):
        jacobian = torch.func.jacrev(lambda v: model(v[None])[0])(x[i]).detach()
        weight = (jacobian * x[i]).sum((1, 2, 3))
        torch.testing.assert_close(parts.weight[i], weight, atol=1e-12, rtol=0)
        out = model(x[i : i + 1])[0].detach()
        torch.testing.assert_close(parts.bias[i], out - weight, atol=1e-12, rtol=0)


def test_a_network_without_bias_is_all_weight(x: Tensor) -> None:
    parts = bias_ablation(network(bias=False), x)
    torch.testing.assert_close(parts.weight, parts.all, atol=1e-14, rtol=0)
    assert float(parts.bias.abs().max()) < 1e-14


def test_a_constant_model_is_all_bias(x: Tensor) -> None:
    parts = bias_ablation(lambda v: torch.ones(len(v), 2, dtype=v.dtype), x)
    assert torch.equal(parts.bias, parts.all)


def test_works_in_inference_mode_and_leaves_the_model_alone(x: Tensor) -> None:
    model = network().train()
    expected = bias_ablation(model, x)
    with torch.inference_mode():
        inside = bias_ablation(model, x)
    assert torch.equal(inside.weight, expected.weight)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not x.requires_grad


def test_metric_counts_over_batches(x: Tensor) -> None:
    model, labels = network(), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    metric = BiasAblationAccuracy(model)
    metric.update(x[:3], labels[:3])
    metric.update(x[3:], labels[3:])
    parts = bias_ablation(model, x)
    for name, logits in (("all", parts.all), ("weight", parts.weight), ("bias", parts.bias)):
        share = sum(int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True)) / 7
        assert float(metric.compute()[f"accuracy_{name}"]) == pytest.approx(share)
        assert parts.accuracy(labels)[f"accuracy_{name}"] == pytest.approx(share)
        assert metric.hits()[f"accuracy_{name}"].shape == (7,)


class OneWay(torch.autograd.Function):
    """An operation without a forward derivative."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        return grads[0] * 2


def test_missing_forward_derivative_points_to_reverse_mode() -> None:
    def model(v: Tensor) -> Tensor:
        return OneWay.apply(v) + 1  # type: ignore[no-any-return]

    with pytest.raises(MetricInputError, match='mode="reverse"'):
        bias_ablation(model, torch.ones(2, 3))
    parts = bias_ablation(model, torch.ones(2, 3), mode="reverse")
    assert torch.equal(parts.bias, torch.ones(2, 3))


def test_bad_input_is_refused(x: Tensor) -> None:
    with pytest.raises(MetricInputError, match="floating point"):
        bias_ablation(network(), torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(MetricInputError, match="must give"):
        bias_ablation(lambda v: v, x)
    with pytest.raises(MetricInputError, match="mode='both'"):
        bias_ablation(network(), x, mode="both")  # type: ignore[arg-type]
    with pytest.raises(MetricInputError, match="outside"):
        bias_ablation(network(), x).accuracy(torch.full((7,), 3))
