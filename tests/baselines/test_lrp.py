"""LRP against dense matrices, against Zennit itself, and against w.x of our own engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torchvision
from captum.attr import LRP as CaptumLRP
from torch import Tensor, nn
from zennit.attribution import Gradient as ZennitGradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonAlpha2Beta1, EpsilonPlus
from zennit.core import Composite
from zennit.torchvision import ResNetCanonizer

import biasmatters as bm
from biasmatters.baselines.conservation import ConservationWarning
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.lrp import LRP
from tests.affine.nets import seeded

quiet = pytest.mark.filterwarnings("ignore::biasmatters.baselines.conservation.ConservationWarning")

# Turns contributions (out, in), biases and relevance (out,) into relevance (in,).
Share = Callable[[Tensor, Tensor, Tensor], Tensor]


def mlp() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3))
    seeded(net)
    return net, torch.randn(5, 6, dtype=torch.float64)


def convnet() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    seeded(net)
    return net, torch.rand(3, 2, 8, 8, dtype=torch.float64)


NETS = {"mlp": mlp, "convnet": convnet}


def stable(z: Tensor, epsilon: float = 1e-6) -> Tensor:
    return z + epsilon * torch.where(z >= 0, 1.0, -1.0).to(z)


def zero(c: Tensor, b: Tensor, r: Tensor) -> Tensor:
    return (c / (c.sum(1) + b)[:, None]).nan_to_num(0, 0, 0).T @ r


def epsilon(size: float, keep: bool = True) -> Share:
    def share(c: Tensor, b: Tensor, r: Tensor) -> Tensor:
        return (c / stable(c.sum(1) + keep * b, size)[:, None]).T @ r

    return share


def gamma(amount: float) -> Share:
    def share(c: Tensor, b: Tensor, r: Tensor) -> Tensor:
        z = c.sum(1) + b
        up, down = c + amount * c.clamp(min=0), c + amount * c.clamp(max=0)
        chosen = torch.where((z > 0)[:, None], up, down)
        return (chosen / stable(chosen.sum(1))[:, None]).T @ r

    return share


def alpha_beta(alpha: float) -> Share:
    def share(c: Tensor, b: Tensor, r: Tensor) -> Tensor:
        up, down = c.clamp(min=0), c.clamp(max=0)
        up, down = up / stable(up.sum(1))[:, None], down / stable(down.sum(1))[:, None]
        return (alpha * up - (alpha - 1) * down).T @ r

    return share


def replica(net: nn.Sequential, x: Tensor, dense: Share, convolution: Share) -> Tensor:
    """LRP of one sample with every layer written as a dense matrix."""
    acts = [x]
    for layer in net:
        acts.append(layer(acts[-1].clone()).detach())
    chosen = int(acts[-1].argmax())
    r = torch.zeros_like(acts[-1])
    r[0, chosen] = acts[-1][0, chosen]
    for layer, a, out in reversed(list(zip(net, acts, acts[1:], strict=False))):
        if isinstance(layer, nn.ReLU):
            continue
        jac = torch.autograd.functional.jacobian(layer, a).reshape(out.numel(), a.numel())
        flat = r.reshape(-1)
        if isinstance(layer, nn.MaxPool2d | nn.Flatten):
            flat = jac.T @ flat
        elif isinstance(layer, nn.AvgPool2d):
            pool = zero if dense is zero else epsilon(1e-6)
            flat = pool(jac * a.reshape(1, -1), torch.zeros(out.numel()).to(a), flat)
        else:
            c = jac * a.reshape(1, -1)
            share = convolution if isinstance(layer, nn.Conv2d) else dense
            flat = share(c, out.reshape(-1) - c.sum(1), flat)
        r = flat.reshape(a.shape)
    return r


CASES = {
    "zero": ({"variant": "zero"}, zero, zero),
    "epsilon": ({"variant": "epsilon", "epsilon": 0.1}, epsilon(0.1), epsilon(0.1)),
    "epsilon without biases": (
        {"variant": "epsilon", "biases": "drop"}, epsilon(1e-6, False), epsilon(1e-6, False),
    ),
    "gamma": ({"variant": "gamma", "gamma": 0.3}, gamma(0.3), gamma(0.3)),
    "zplus": ({"variant": "zplus"}, alpha_beta(1), alpha_beta(1)),
    "alpha1": ({"variant": "alpha_beta", "alpha": 1}, alpha_beta(1), alpha_beta(1)),
    "alpha2": ({"variant": "alpha_beta", "alpha": 2}, alpha_beta(2), alpha_beta(2)),
    "alpha5": ({"variant": "alpha_beta", "alpha": 5}, alpha_beta(5), alpha_beta(5)),
    "cmp": ({"variant": "cmp", "alpha": 2}, epsilon(1e-10, False), alpha_beta(2)),
    "cmp1": ({"variant": "cmp", "alpha": 1}, epsilon(1e-10, False), alpha_beta(1)),
}  # fmt: skip


@quiet
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("case", CASES)
def test_each_rule_is_that_of_dense_matrices(case: str, net: str) -> None:
    (model, x), (options, dense, convolution) = NETS[net](), CASES[case]
    found = LRP(model, **options).explain(x).map
    expected = torch.cat([replica(model, row[None], dense, convolution) for row in x])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("net", NETS)
def test_zero_sums_to_the_linear_part_exactly(net: str) -> None:
    """Item 7 of the failure zoo: what is missing from f is the bias, sample by sample."""
    model, x = NETS[net]()
    answer, form = LRP(model, "zero").explain(x), bm.local_affine(model, x)
    sums = answer.map.flatten(1).sum(1)
    torch.testing.assert_close(sums, form.output - form.bias, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(answer.map, form.weight * x, rtol=1e-8, atol=1e-12)
    assert answer.complete
    assert LRP(model, "epsilon").explain(x).complete


def test_zero_of_a_unit_that_is_zero() -> None:
    net = nn.Linear(3, 2, bias=False).double()
    answer = LRP(net, "zero").explain(torch.zeros(2, 3).double(), 0)
    assert not answer.map.any()
    assert answer.complete


@quiet
@pytest.mark.parametrize("rule", ["gamma", "zplus"])
def test_without_biases_the_sum_is_f(rule: str) -> None:
    """Item 5 of the failure zoo: with biases in the denominators it is not."""
    net, x = convnet()
    output = net(x.clone()).amax(1).detach()
    answer = LRP(net, rule).explain(x)
    torch.testing.assert_close(answer.map.flatten(1).sum(1), output, rtol=1e-3, atol=1e-4)
    assert answer.complete
    kept = LRP(net, rule, biases="keep").explain(x)
    assert kept.complete is None
    assert float((kept.map.flatten(1).sum(1) - output).abs().max()) > 0.1


def zennit(net: nn.Module, x: Tensor, composite: Composite) -> Tensor:
    """Zennit as its users call it, relevance starting as f."""

    def start(out: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(out.argmax(1), out.shape[1]).to(out) * out

    with ZennitGradient(model=net, composite=composite) as attributor:
        return attributor(x.clone(), start)[1].detach()


@quiet
def test_as_zennit_alone_where_zennit_is_right() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ))  # fmt: skip
    x = torch.rand(3, 2, 8, 8, dtype=torch.float64)
    composite = EpsilonAlpha2Beta1(
        epsilon=1e-10, zero_params=["bias"], canonizers=[SequentialMergeBatchNorm()]
    )
    found = LRP(net, "cmp", alpha=2).explain(x)
    given = LRP(net, "cmp", alpha=2, canonizers=[SequentialMergeBatchNorm()]).explain(x)
    expected = zennit(net, x, composite)
    torch.testing.assert_close(found.map, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given.map, found.map)


def resnet() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = torchvision.models.resnet18()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.1)
            part.running_mean.normal_(0, 0.1)
    return net.double().eval(), torch.randn(1, 3, 32, 32, dtype=torch.float64)


def test_resnet_by_zennits_canonizer() -> None:
    """Its blocks and batch-norms are canonized unasked; the sum is the engine's w.x."""
    net, x = resnet()
    answer, form = LRP(net, "zero").explain(x), bm.local_affine(net, x)
    torch.testing.assert_close(answer.map, form.weight * x, rtol=1e-6, atol=1e-9)
    assert answer.complete
    composite = EpsilonPlus(zero_params=["bias"], canonizers=[ResNetCanonizer()])
    expected = zennit(net, x, composite)
    found = LRP(net, "cmp", alpha=1).explain(x).map
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4 * float(expected.abs().max()))


class Adding(nn.Module):
    """A residual sum written with ``+``."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 5)
        self.relu, self.head = nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        g = self.relu(self.a(x))
        return self.head(g + self.b(g))


def test_a_residual_sum_is_refused_where_captum_is_silently_wrong() -> None:
    """Item 2 of the failure zoo."""
    torch.manual_seed(0)
    net, x = seeded(Adding()), torch.randn(3, 4, dtype=torch.float64)
    form = bm.local_affine(net, x, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        peer = CaptumLRP(net).attribute(x.clone().requires_grad_(), target=0).detach()
    assert not torch.allclose(peer.sum(1), form.output - form.bias, rtol=0.05)
    for rule in ("zero", "zplus"):
        with pytest.raises(MethodError, match="add in the model"):
            LRP(net, rule).explain(x, 0)


def test_a_callable_target() -> None:
    net, x = convnet()
    answer = LRP(net, "zero").explain(x, lambda out: out[:, 0] - 2 * out[:, 1])
    parts = [LRP(net, "zero").explain(x, k).map for k in (0, 1)]
    torch.testing.assert_close(answer.map, parts[0] - 2 * parts[1], rtol=1e-8, atol=1e-10)
    assert answer.complete


def test_one_output_for_each_sample() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Flatten(0)))
    x = torch.randn(3, 4, dtype=torch.float64)
    answer = LRP(net, "zero").explain(x)
    torch.testing.assert_close(answer.map, bm.local_affine(net, x).weight * x)


def test_activations_with_a_constant_promise_no_linear_part() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2)))
    assert LRP(net, "zero").explain(torch.randn(2, 4, dtype=torch.float64)).complete is None


def test_no_samples() -> None:
    net, x = convnet()
    assert LRP(net, "zero").explain(x[:0], 0).map.shape == (0, 2, 8, 8)
    assert LRP(net, "zplus").explain(x[:0], 0).map.shape == (0, 2, 8, 8)


def test_every_kind_of_linear_layer_and_merge() -> None:
    torch.manual_seed(0)
    net = seeded(nn.Sequential(
        nn.Conv1d(2, 4, 3, groups=2), nn.BatchNorm1d(4), nn.LeakyReLU(),
        nn.ConvTranspose1d(4, 6, 3),
        nn.BatchNorm1d(6), nn.PReLU(), nn.Flatten(), nn.Linear(48, 10), nn.BatchNorm1d(10),
        nn.ReLU(), nn.Dropout(), nn.Linear(10, 2),
    ))  # fmt: skip
    x = torch.randn(3, 2, 8, dtype=torch.float64)
    answer = LRP(net, "zero").explain(x, 0)
    torch.testing.assert_close(answer.map, bm.local_affine(net, x, 0).weight * x)
    assert answer.complete


def test_lost_relevance_is_warned_of() -> None:
    """An input of zeros contributes nothing; the units live on their biases."""
    net, x = convnet()
    with pytest.warns(ConservationWarning, match="largest deviation"):
        answer = LRP(net, "zplus").explain(x * 0)
    assert answer.complete is False


def test_a_rule_that_is_not_what_it_should_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = mlp()
    monkeypatch.setattr("biasmatters.baselines.lrp.never_zero", lambda z: 2 * z)
    with pytest.raises(MethodError, match="walks this model wrongly"):
        LRP(net, "zero").explain(x)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variant": "delta"}, "take one of zero, epsilon"),
        ({"biases": "half"}, "'keep', 'drop' or None"),
        ({"epsilon": 0.0}, "variant='zero'"),
        ({"variant": "alpha_beta", "alpha": 0.5}, "alpha >= 1"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, object], text: str) -> None:
    with pytest.raises(MethodError, match=text):
        LRP(nn.Linear(2, 2), **options)
