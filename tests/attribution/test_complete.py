"""Maps of w.x made whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.attribution import (
    BiasBackprop,
    Complete,
    Gradient,
    InputXGradient,
    InputXGradientPlusBias,
    reduce_channels,
)
from biasmatters.baselines import LRP, GradientShap
from biasmatters.types import REDUCTIONS, Attribution


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    ).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def test_input_x_gradient_made_whole_is_the_map_made_in_one(net: nn.Sequential, x: Tensor) -> None:
    found = Complete(net, InputXGradient, rule="uniform").explain(x, 1)
    wanted = InputXGradientPlusBias(net, "uniform").explain(x, 1)
    torch.testing.assert_close(found.map, wanted.map)
    assert found.complete
    output = net(x)[:, 1].detach()
    torch.testing.assert_close(found.map.flatten(1).sum(1), output, rtol=1e-4, atol=1e-5)
    bias = BiasBackprop(net, "uniform").explain(x, 1).map.flatten(1).sum(1)
    for whole in (found, wanted):
        assert whole.bias_share is not None
        torch.testing.assert_close(whole.bias_share, bias / output, rtol=1e-3, atol=1e-4)


def test_lrp_epsilon_lacks_just_the_bias(net: nn.Sequential, x: Tensor) -> None:
    alone = LRP(net, "epsilon").explain(x, 1).map.flatten(1).sum(1)
    assert bool(((alone - net(x)[:, 1]).abs() > 1e-3).all())
    found = Complete(net, LRP, rule="proportional").explain(x, 1)
    assert found.complete
    torch.testing.assert_close(
        found.map.flatten(1).sum(1), net(x)[:, 1].detach(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("method", [Gradient, GradientShap])
def test_a_method_that_shares_out_something_else_is_found_out(
    net: nn.Sequential, x: Tensor, method: type
) -> None:
    assert Complete(net, method, rule="uniform").explain(x, 1).complete is False


class Coarse:
    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def explain(self, x: Tensor, target: int) -> Attribution:
        nothing = torch.zeros(len(x))
        return Attribution(x[:, :1], None, nothing, nothing)


def test_a_map_of_another_shape_is_refused(net: nn.Sequential, x: Tensor) -> None:
    with pytest.raises(InputError, match="Coarse gives no map like the input"):
        Complete(net, Coarse).explain(x, 1)


def test_reductions() -> None:
    maps = torch.tensor([[[[3.0, -1.0]], [[-4.0, -1.0]]]])
    wanted = {"sum": [-1, -2], "abs_sum": [7, 2], "abs_max": [4, 1], "norm": [5, 2**0.5]}
    for name in REDUCTIONS:
        torch.testing.assert_close(
            reduce_channels(maps, name), torch.tensor([[wanted[name]]]).float()
        )
    with pytest.raises(InputError, match="choose from sum, abs_sum, abs_max, norm"):
        reduce_channels(maps, "mean")  # type: ignore[arg-type]
