"""Captum's tunnels and metrics with our method in them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import captum
import numpy as np
import pytest
import torch
from captum.attr import NoiseTunnel
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.captum import BiasBackprop
from tests.affine.nets import seeded

PARTS = ("bias", "both")


class TwoInputs(nn.Module):
    """Two inputs, and two further arguments: one for each sample, and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, a: Tensor, b: Tensor, shift: Tensor, factor: float = 1.0) -> Tensor:
        return self.head(torch.relu(self.left(a) + factor * self.right(b) + shift))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return seeded(
        nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
        )
    )


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def two() -> TwoInputs:
    torch.manual_seed(0)
    return seeded(TwoInputs())


@pytest.fixture
def pair() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    return tuple(torch.randn(4, k, generator=draw).double() for k in (3, 2, 4))


@pytest.mark.parametrize("rule", bm.RULES)
@pytest.mark.parametrize("fold", [True, False])
def test_the_maps_are_ours(net: nn.Module, x: Tensor, rule: str, fold: bool) -> None:
    classes = [0, 3, 1, 2]
    found = BiasBackprop(net, rule, 0.5, fold).attribute(x, classes)
    assert torch.equal(found, bm.BiasBackprop(net, rule, 0.5, fold).attribute(x, classes))
    both = BiasBackprop(net, rule, 0.5, fold, part="both").attribute(x, classes)
    wanted = bm.InputXGradientPlusBias(net, rule, 0.5, fold).explain(x, classes).map
    assert torch.equal(both, wanted)


@pytest.mark.parametrize(
    "target",
    [
        2,
        np.int64(2),
        (2,),
        [2],
        [2, 2, 2, 2],
        [(2,)] * 4,
        torch.tensor(2),
        torch.tensor([2] * 4),
        np.array([2] * 4),
        lambda out: out[:, 2],
    ],
)
@pytest.mark.parametrize("size", [None, 3])
def test_every_kind_of_target(net: nn.Module, x: Tensor, target: Any, size: int | None) -> None:
    wanted = bm.BiasBackprop(net).attribute(x, 2)
    found = BiasBackprop(net).attribute(x, target, internal_batch_size=size)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


def test_indices_into_outputs_of_several_axes(net: nn.Module, x: Tensor) -> None:
    deep = nn.Sequential(net, nn.Unflatten(1, (2, 2)))
    flat, classes = BiasBackprop(net), [1, 2, 0, 3]
    indices = [(c // 2, c % 2) for c in classes]
    method = BiasBackprop(deep)
    assert torch.equal(method.attribute(x, (1, 0)), flat.attribute(x, 2))
    assert torch.equal(method.attribute(x, indices), flat.attribute(x, classes))
    smaller = method.attribute(x, indices, internal_batch_size=3)
    torch.testing.assert_close(smaller, flat.attribute(x, classes), rtol=1e-12, atol=1e-14)
    tunnel = NoiseTunnel(method)
    assert tunnel.attribute(x, nt_samples=2, stdevs=0.1, target=indices).shape == x.shape


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ([0, 1], "2 targets for 4 samples"),
        (np.array([0, 1]), "2 targets for 4 samples"),
        (torch.tensor([0, 1, 2]), "3 targets for 4 samples"),
        ((0, 1), "no index into an output of shape"),
        ((9,), "no index into an output of shape"),
        ([(0,), (1,), (2,), (1, 1)], "as many indices"),
        (7, "out of range"),
        (1.5, "class index"),
    ],
)
def test_targets_that_do_not_fit(net: nn.Module, x: Tensor, target: Any, words: str) -> None:
    for size in (None, 2):
        with pytest.raises(bm.InputError, match=words):
            BiasBackprop(net).attribute(x, target, internal_batch_size=size)
        assert not x.requires_grad


@pytest.mark.parametrize("part", PARTS)
def test_the_delta_is_the_sum_less_the_total(net: nn.Module, x: Tensor, part: Any) -> None:
    form = bm.local_affine(net, x, [0, 1, 2, 3])
    total = form.bias if part == "bias" else form.output
    method = BiasBackprop(net, part=part)
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs
    found, delta = method.attribute(x, [0, 1, 2, 3], return_convergence_delta=True)
    assert delta.shape == (4,)
    assert float(delta.abs().max()) < 1e-12
    assert float(total.abs().min()) > 1e-3
    again = method.compute_convergence_delta(found + 1, None, x, [0, 1, 2, 3])
    torch.testing.assert_close(again, torch.full((4,), 36.0).double())
    with pytest.raises(bm.InputError, match="no baseline"):
        method.compute_convergence_delta(found, torch.zeros_like(x), x, 0)


def test_what_the_fallback_drops_is_missing_in_the_delta() -> None:
    dead = nn.Linear(2, 2).double()
    nn.init.zeros_(dead.weight)
    net = nn.Sequential(dead, nn.Linear(2, 1).double())
    x = torch.ones(3, 2).double()
    with_weight = nn.Sequential(nn.Linear(2, 2).double(), *net)
    method = BiasBackprop(with_weight, "proportional", fallback="drop")
    found, delta = method.attribute(x, return_convergence_delta=True)
    torch.testing.assert_close(found.sum(1) - bm.local_affine(with_weight, x).bias, delta)
    torch.testing.assert_close(method.compute_convergence_delta(found, None, x), delta)
    assert float(delta.abs().min()) > 1e-6


@pytest.mark.parametrize("part", PARTS)
def test_tuples_and_further_arguments(
    two: TwoInputs, pair: tuple[Tensor, Tensor, Tensor], part: Any
) -> None:
    a, b, shift = pair
    method = BiasBackprop(two, part=part)
    maps, delta = method.attribute(
        (a, b), [0, 1, 2, 0], (shift, 0.5), return_convergence_delta=True
    )
    assert isinstance(maps, tuple)
    assert [m.shape for m in maps] == [a.shape, b.shape]
    assert float(delta.abs().max()) < 1e-12
    one_by_one = method.attribute((a, b), [0, 1, 2, 0], (shift, 0.5), internal_batch_size=1)
    for m, single in zip(maps, one_by_one, strict=True):
        torch.testing.assert_close(m, single)
    again = method.compute_convergence_delta(maps, None, (a, b), [0, 1, 2, 0], (shift, 0.5))
    torch.testing.assert_close(again, delta, rtol=0, atol=1e-12)
    (lone,) = BiasBackprop(lambda left: two(left, b, shift)).attribute((a,), 1)
    assert lone.shape == a.shape
    plain = method.attribute((a, b), 1, shift)
    assert torch.equal(plain[0], method.attribute((a, b), 1, (shift,))[0])


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel(two: TwoInputs, pair: tuple[Tensor, Tensor, Tensor], kind: str) -> None:
    a, b, shift = pair
    method = BiasBackprop(two)
    how: dict[str, Any] = {"target": [0, 1, 2, 0], "additional_forward_args": (shift, 0.5)}
    torch.manual_seed(3)
    found = NoiseTunnel(method).attribute((a, b), nt_type=kind, nt_samples=3, stdevs=0.2, **how)
    torch.manual_seed(3)
    draws = [a.repeat_interleave(3, 0), b.repeat_interleave(3, 0)]
    noisy = tuple(d + torch.normal(0, torch.full(d.shape, 0.2)) for d in draws)
    classes = torch.tensor([0, 1, 2, 0]).repeat_interleave(3)
    maps = method.attribute(noisy, classes, (shift.repeat_interleave(3, 0), 0.5))
    for got, each in zip(found, maps, strict=True):
        rows = each.unflatten(0, (4, 3))
        wanted = {
            "smoothgrad": rows.mean(1),
            "smoothgrad_sq": rows.square().mean(1),
            "vargrad": rows.var(1, correction=0),
        }
        torch.testing.assert_close(got, wanted[kind])


def test_noise_tunnel_returns_deltas_and_takes_a_part_at_a_time(net: nn.Module, x: Tensor) -> None:
    tunnel = NoiseTunnel(BiasBackprop(net, part="both"))
    assert tunnel.has_convergence_delta()
    found, delta = tunnel.attribute(
        x, nt_samples=5, nt_samples_batch_size=2, stdevs=0.1, target=torch.tensor([0, 1, 2, 3]),
        return_convergence_delta=True, internal_batch_size=3,
    )  # fmt: skip
    assert found.shape == x.shape
    assert delta.shape == (20,)
    assert float(delta.abs().max()) < 1e-12
    with pytest.raises(bm.InputError, match="as a list or a tensor"):
        tunnel.attribute(x, nt_samples=2, stdevs=0.1, target=np.array([0, 1, 2, 3]))


@infidelity_perturb_func_decorator(multiply_by_inputs=True)
def leave_out(inputs: Any) -> Any:
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    kept = tuple(i * (torch.rand_like(i) > 0.5) for i in several)
    return kept if isinstance(inputs, tuple) else kept[0]


def test_infidelity_of_linear_networks() -> None:
    """The features left out take w * x with them, and the bias not: their share of it is missed."""
    torch.manual_seed(0)
    x = torch.randn(5, 6).double()
    pure = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False)).double()
    maps = BiasBackprop(pure, part="both").attribute(x, 1)
    assert float(infidelity(pure, leave_out, x, maps, target=1).abs().max()) < 1e-20
    biased = nn.Linear(6, 3).double()
    method, both = BiasBackprop(biased, "uniform"), BiasBackprop(biased, "uniform", part="both")
    beta = method.attribute(x, 1)
    torch.testing.assert_close(beta, (biased.bias[1].detach() / 6).expand(5, 6))
    torch.manual_seed(4)
    left = (torch.rand(5 * 10, 6, dtype=torch.float64) <= 0.5).double().unflatten(0, (5, 10))
    missed = (left * beta[:, None]).sum(2).square().mean(1)
    torch.manual_seed(4)
    found = infidelity(biased, leave_out, x, both.attribute(x, 1), target=1)
    torch.testing.assert_close(found, missed)


def test_metrics_with_tuples_and_arguments(
    two: TwoInputs, pair: tuple[Tensor, Tensor, Tensor]
) -> None:
    a, b, shift = pair
    method = BiasBackprop(two, part="both")
    how: dict[str, Any] = {"target": [0, 1, 2, 0], "additional_forward_args": (shift, 0.5)}
    maps = method.attribute((a, b), **how)
    score = infidelity(two, leave_out, (a, b), maps, n_perturb_samples=4, **how)
    assert score.shape == (4,)
    assert bool(score.isfinite().all())
    found = sensitivity_max(method.attribute, (a, b), n_perturb_samples=4, **how)
    assert found.shape == (4,)
    assert bool(((found > 0) & found.isfinite()).all())


def test_sensitivity_max(net: nn.Module, x: Tensor) -> None:
    """Nothing changes within a linear piece of the network, if alpha looks at the weights alone."""
    small, method = 1e-9, BiasBackprop(net)
    still = sensitivity_max(method.attribute, x, perturb_radius=small, target=[0, 1, 2, 3])
    assert float(still.max()) < 1e-6
    moved = sensitivity_max(method.attribute, x, perturb_radius=1.0, target=[0, 1, 2, 3])
    assert float(moved.min()) > 1e-3


@pytest.mark.parametrize("part", PARTS)
def test_everything_is_left_as_it_was(net: nn.Module, x: Tensor, part: Any) -> None:
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in net.state_dict().items()}
    wanting = x.clone().requires_grad_()
    method = BiasBackprop(net, part=part)
    plain = method.attribute(x, 1)
    found, delta = method.attribute(wanting, 1, return_convergence_delta=True)
    assert not x.requires_grad
    assert wanting.grad is None
    assert not found.requires_grad
    assert not delta.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    with torch.inference_mode():
        torch.testing.assert_close(method.attribute(x.clone(), 1), plain)
    net.train()
    with pytest.raises(bm.TrainingModeError, match="eval"):
        method.attribute(x, 1)
    assert net.training


def test_it_follows_another_forward_func(net: nn.Module, x: Tensor) -> None:
    method = BiasBackprop(net)
    method.forward_func = lambda inputs: 2 * net(inputs)
    assert torch.equal(method.attribute(x, 1), bm.BiasBackprop(method.forward_func).attribute(x, 1))
    assert method.get_name() == "Bias Backprop"


def test_settings_are_refused_at_once(net: nn.Module, x: Tensor) -> None:
    with pytest.raises(bm.InputError, match="choose bias, or both"):
        BiasBackprop(net, part="whole")  # type: ignore[arg-type]
    with pytest.raises(bm.InputError, match="Unknown fallback"):
        BiasBackprop(net, fallback="none")  # type: ignore[arg-type]
    with pytest.raises(bm.BiasmattersError, match="Unknown rule"):
        BiasBackprop(net, "softmin")
    for size in (0, True, 1.5):
        with pytest.raises(bm.InputError, match="internal_batch_size"):
            BiasBackprop(net).attribute(x, 1, internal_batch_size=size)  # type: ignore[arg-type]


def test_an_empty_batch(net: nn.Module, x: Tensor) -> None:
    found, delta = BiasBackprop(net).attribute(x[:0], 1, return_convergence_delta=True)
    assert found.shape == (0, 1, 6, 6)
    assert delta.shape == (0,)


def test_the_names_do_not_shadow_the_libraries() -> None:
    assert captum.__name__ == "captum"
    assert BiasBackprop.__mro__[1].__module__.startswith("captum.attr")
    code = (
        "import sys, biasmatters.quantus; print('quantus' in sys.modules, 'captum' in sys.modules);"
        "import biasmatters.captum, biasmatters.zennit, captum, zennit;"
        "print(captum.attr.NoiseTunnel.__module__, zennit.attribution.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [
        "False", "False", "captum.attr._core.noise_tunnel", "zennit.attribution"
    ]  # fmt: skip
