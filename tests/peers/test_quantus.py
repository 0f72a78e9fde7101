"""Item 6 of the failure zoo: Quantus' Completeness compares floats by ``==``, after normalising."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.affine.mixing import Mixing
from biasmatters.rules import Uniform
from tests.affine.nets import seeded


def image_net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    ).float()


def quantus_completeness(net: nn.Module, x: np.ndarray, maps: np.ndarray, **how: Any) -> list[bool]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantus

        metric = quantus.Completeness(disable_warnings=True, display_progressbar=False, **how)
        labels = np.zeros(len(x), dtype=int)
        return [bool(s) for s in metric(model=net, x_batch=x, y_batch=labels, a_batch=maps)]


def test_6_completeness_is_judged_by_round_off() -> None:
    """Not by ``==``, which calls attributions incomplete that are complete to round-off."""
    net, x = image_net(), torch.randn(16, 1, 6, 6)
    found = bm.InputXGradientPlusBias(net, "uniform").explain(x, 0)
    assert found.complete
    assert bool((found.residual > 0).any())
    # Quantus asks for f(x) - f(0): f(0) is taken off evenly.
    at_zero = net(torch.zeros(1, 1, 6, 6))[0, 0].detach()
    maps = (found.map - at_zero / 36).double()
    gain = net(x)[:, 0].detach() - at_zero
    torch.testing.assert_close(maps.flatten(1).sum(1).float(), gain, rtol=1e-5, atol=1e-5)
    assert quantus_completeness(net, x.numpy(), maps.numpy()) == [False] * 16
    exactly = quantus_completeness(net, x.numpy(), maps.numpy(), normalise=False)
    assert sum(exactly) < 8


def test_8_the_global_generator() -> None:
    """Quantus' MPRT moves it; our methods, those that draw included, do not."""
    net, x = image_net(), torch.randn(3, 1, 6, 6)

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
        made = bm.InputXGradientPlusBias(model, "uniform").explain(torch.as_tensor(inputs), 0)
        assert isinstance(made.map, torch.Tensor)
        return made.map.numpy()

    before = torch.get_rng_state()
    drawing = nn.Sequential(nn.FractionalMaxPool2d(2, output_size=3), nn.Flatten())
    explain(net, x.numpy(), np.zeros(3))
    bm.BiasBackprop(drawing).explain(x + 1, 0)
    assert torch.equal(torch.get_rng_state(), before)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import quantus

        mprt = quantus.MPRT(disable_warnings=True, display_progressbar=False)
        mprt(model=net, x_batch=x.numpy(), y_batch=np.zeros(3, dtype=int), explain_func=explain)
        assert not torch.equal(torch.get_rng_state(), before)


class Leaking(Uniform):
    """A rule that loses a millionth of the bias at every layer."""

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        beta, live = super().split(mixing, x, tau, scale)
        return beta * (1 - 1e-6), live


def test_6_what_is_incomplete_is_called_so() -> None:
    net, x = image_net().double(), torch.randn(4, 1, 6, 6, dtype=torch.float64)
    assert bm.InputXGradientPlusBias(net, Uniform()).explain(x, 0).complete
    assert bm.InputXGradientPlusBias(net, Leaking()).explain(x, 0).complete is False
