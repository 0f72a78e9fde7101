"""RectGrad against loops over units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.rectgrad import RectGrad, above_percentile
from tests.affine.nets import seeded


class Mlp(nn.Module):
    """One ReLU written as a function and used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(7, 12), nn.Linear(12, 12), nn.Linear(12, 3)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](F.relu(self.layers[1](F.relu(self.layers[0](x)))))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(Mlp())


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 7, generator=torch.Generator().manual_seed(1)).double()


def _mask(product: np.ndarray, percentile: float) -> np.ndarray:
    least = np.percentile(product, percentile, method="lower")
    return np.array([float(value > least) for value in product])


def _loops(net: Mlp, x: np.ndarray, target: int, percentile: float) -> tuple[np.ndarray, ...]:
    """R and ``x R`` at the input of one sample, both thresholded."""
    weights = [layer.weight.detach().numpy() for layer in net.layers]
    biases = [layer.bias.detach().numpy() for layer in net.layers]
    first = np.maximum(weights[0] @ x + biases[0], 0)
    second = np.maximum(weights[1] @ first + biases[1], 0)
    signal = weights[2][target].copy()
    for activation, weight in ((second, weights[1]), (first, weights[0])):
        kept = signal * _mask(activation * signal, percentile)
        signal = np.array([sum(kept * weight[:, q]) for q in range(weight.shape[1])])
    mask = _mask(x * signal, percentile)
    return signal, signal * mask, x * signal * mask


@pytest.mark.parametrize("percentile", [0.0, 50.0, 73.0, 98.0])
def test_equals_loops(net: Mlp, x: Tensor, percentile: float) -> None:
    plain = RectGrad(net, percentile, times_input=False, threshold_input=False).explain(x, 2)
    kept = RectGrad(net, percentile, times_input=False).explain(x, 2)
    found = RectGrad(net, percentile).explain(x, 2)
    for i in range(len(x)):
        wanted = _loops(net, x[i].numpy(), 2, percentile)
        for part, want in zip((plain, kept, found), wanted, strict=True):
            np.testing.assert_allclose(part.map[i].numpy(), want, rtol=1e-10, atol=1e-12)
    assert found.complete is None
    assert found.target.tolist() == [2] * 4


def test_a_sample_has_its_own_threshold(net: nn.Module, x: Tensor) -> None:
    method = RectGrad(net, 60.0)
    alone = torch.cat([method.explain(x[i : i + 1], 1).map for i in range(len(x))])
    torch.testing.assert_close(method.explain(x, 1).map, alone)


def test_percentile_rows_along_another_axis() -> None:
    values = torch.arange(12.0).reshape(3, 2, 2)
    found = above_percentile(values, 50.0, axis=1)
    assert found[:, 0].flatten().tolist() == [False, False, False, True, True, True]
    assert int(above_percentile(values, 50.0, axis=1, samples=1).sum()) == 12 - 1 - 5
    assert above_percentile(values[:0], 50.0).shape == (0, 2, 2)


def test_settings_and_models_that_do_not_fit(net: nn.Module, x: Tensor) -> None:
    with pytest.raises(MethodError, match="from 0 to below 100"):
        RectGrad(net, 100)
    smooth = seeded(nn.Sequential(nn.Linear(7, 3), nn.GELU()))
    with pytest.raises(MethodError, match="gelu in '1'"):
        RectGrad(smooth).explain(x, 0)
