"""Integrated gradients through the protocol, against a line integral written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError, TrainingModeError
from biasmatters.baselines import IntegratedGradients


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 9), nn.Softplus(), nn.Linear(9, 3)).double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _written_out(net: nn.Module, x: Tensor, target: Tensor, steps: int = 50) -> Tensor:
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(x)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        leaf = (float(point) * x).requires_grad_()
        score = net(leaf).gather(1, target[:, None]).sum()
        total += float(weight) * torch.autograd.grad(score, leaf)[0]
    return total * x


def test_equals_the_line_integral_written_out(net: nn.Module, x: Tensor) -> None:
    found = IntegratedGradients(net).explain(x)
    classes = net(x).argmax(1)
    assert found.target is not None
    assert found.target.tolist() == classes.tolist()
    torch.testing.assert_close(found.map, _written_out(net, x, classes), rtol=1e-8, atol=1e-9)
    assert found.complete
    assert float(found.residual.max()) < 1e-9


def test_small_internal_batches_change_nothing(net: nn.Module, x: Tensor) -> None:
    whole = IntegratedGradients(net).explain(x, 1).map
    parts = IntegratedGradients(net, internal_batch_size=7).explain(x, 1).map
    torch.testing.assert_close(parts, whole)


def test_a_callable_target_is_explained_itself(net: nn.Module, x: Tensor) -> None:
    def margin(out: Tensor) -> Tensor:
        return out[:, 2] - out[:, 0]

    found = IntegratedGradients(net).explain(x, margin)
    parts = [IntegratedGradients(net).explain(x, c).map for c in (2, 0)]
    assert found.target is None
    torch.testing.assert_close(found.map, parts[0] - parts[1])


def test_under_inference_mode(net: nn.Module) -> None:
    with torch.inference_mode():
        x = torch.ones(2, 4, dtype=torch.float64)
        found = IntegratedGradients(net).explain(x, 0)
    torch.testing.assert_close(
        found.map, _written_out(net, torch.ones(2, 4).double(), torch.zeros(2, dtype=torch.long))
    )


def test_bad_input_is_refused(net: nn.Module, x: Tensor) -> None:
    with pytest.raises(InputError, match="out of range"):
        IntegratedGradients(net).explain(x, 3)
    with pytest.raises(InputError, match="not finite at sample index 1"):
        IntegratedGradients(net).explain(x.index_fill(0, torch.tensor([1]), torch.nan))
    net.append(nn.Dropout())
    with pytest.raises(TrainingModeError, match="Dropout"):
        IntegratedGradients(net.train()).explain(x)
