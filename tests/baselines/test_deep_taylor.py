"""Deep Taylor: bounds, the first layer in order of execution, conservation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from biasmatters.baselines.deep_taylor import DeepTaylor
from biasmatters.baselines.errors import MethodError
from tests.affine.nets import seeded


def parts(low: Tensor, high: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """The terms of z^B, ``(out, in)``."""
    return x * w - low * w.clamp(min=0) - high * w.clamp(max=0)


def share(c: Tensor, r: Tensor) -> Tensor:
    return (c / (c.sum(1, keepdim=True) + 1e-6)).T @ r


def shuffled() -> tuple[nn.Module, Tensor]:
    """Layers listed in another order than they run in."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.act, self.stem = nn.Linear(7, 3), nn.ReLU(), nn.Linear(12, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.stem(x.flatten(1))))

    torch.manual_seed(0)
    return seeded(Net()), 2 * torch.rand(4, 3, 2, 2, dtype=torch.float64) - 1


@pytest.mark.filterwarnings("ignore::biasmatters.baselines.conservation.ConservationWarning")
def test_as_dense_matrices_with_bounds_for_each_channel() -> None:
    net, x = shuffled()
    low = torch.tensor([-1.0, -1.5, -2.0]).reshape(3, 1, 1)
    high = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    answer = DeepTaylor(net, low, high).explain(x)
    lows, highs = (t.double().expand(3, 2, 2).flatten() for t in (low, high))
    for row, found in zip(x, answer.map, strict=True):
        a = net.stem(row.flatten()).relu()
        out = net.head(a)
        r = out[out.argmax()] * torch.nn.functional.one_hot(out.argmax(), 3)
        r = share((a * net.head.weight).clamp(min=0), r)
        r = share(parts(lows, highs, row.flatten(), net.stem.weight), r)
        torch.testing.assert_close(found.flatten(), r.detach(), rtol=1e-5, atol=1e-8)


def test_conserves_f_whatever_the_biases() -> None:
    torch.manual_seed(3)
    net = seeded(nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3),
    ))  # fmt: skip
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    answer = DeepTaylor(net, 0, 1).explain(x)
    f = net(x).amax(1).detach()
    torch.testing.assert_close(answer.map.flatten(1).sum(1), f, rtol=1e-3, atol=1e-4)
    assert answer.complete
    assert bool((answer.map * f.sign()[:, None, None, None] >= -1e-12).all())


def test_bounds_are_required() -> None:
    text = "give low= and high=, the smallest and largest value of the inputs"
    for bounds in ({}, {"low": 0.0}, {"high": 1.0}):
        with pytest.raises(MethodError, match=text):
            DeepTaylor(nn.Linear(2, 2), **bounds)
    with pytest.raises(MethodError, match="low <= high"):
        DeepTaylor(nn.Linear(2, 2), 1, 0)


def test_inputs_outside_the_bounds_and_bounds_that_do_not_broadcast() -> None:
    net, x = shuffled()
    with pytest.raises(MethodError, match="outside the bounds"):
        DeepTaylor(net, 0, 1).explain(x)
    with pytest.raises(MethodError, match="does not broadcast"):
        DeepTaylor(net, torch.zeros(5), 1).explain(x)


def test_a_first_operation_without_weights() -> None:
    net = seeded(nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(MethodError, match="not avg_pool2d in 0"):
        DeepTaylor(net, 0, 1).explain(torch.rand(2, 1, 4, 4, dtype=torch.float64))
