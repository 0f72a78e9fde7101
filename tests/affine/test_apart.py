"""On a device apart from the host the walk goes by what mostly holds, to the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import biasmatters as bm
from biasmatters.affine import device, stretches
from biasmatters.affine.errors import InputError
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.affine.speculation import assuming
from biasmatters.kernels import without_kernels
from biasmatters.rules import RULES
from biasmatters.rules.journal import listen
from biasmatters.types import Attribution
from tests.affine.nets import Residual, seeded
from tests.affine.test_chains import FALLBACKS, Fallback, assert_close, assert_same, drawn, picture

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = ("uniform", "proportional")
READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")


@pytest.fixture(autouse=True)
def _no_kernels() -> Iterator[None]:
    with without_kernels():
        yield


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a function as if all tensors lay apart from the host."""

    def run(function: Callable[[], Any], **settings: int) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(device, "HOST", "nowhere")
            for name, value in settings.items():
                patch.setattr(stretches, name, value)
            return function()

    return run


class Count(TorchDispatchMode):
    """How often numbers are read one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func.overloadpacket.__name__ in READS
        return func(*args, **(kwargs or {}))


def reads(function: Callable[[], Any]) -> int:
    with Count() as counted:
        function()
    return counted.reads


def failing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether what was taken to hold did, stretch by stretch, for all walks from here on."""
    found: list[bool] = []
    plain = stretches._tried

    def noting(*args: Any) -> Any:
        made = plain(*args)
        found.append(made is not None)
        return made

    monkeypatch.setattr(stretches, "_tried", noting)
    return found


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("rule", RULES)
def test_random_networks_with_stranded_bias(
    rule: str, fallback: Fallback, fold: bool, apart: Callable[..., Attribution]
) -> None:
    masses = []
    for seed in range(3):
        network, x = drawn(seed, long=seed == 2), picture(1 + seed % 3)
        method = bm.BiasBackprop(network, rule, fold=fold, fallback=fallback)
        for layers in (True, False):
            wanted = method.explain(x, 1, layers=layers)
            for stretch in (1, 3, 40):
                found = apart(
                    lambda m=method, x=x, layers=layers: m.explain(x, 1, layers=layers),
                    STRETCH=stretch,
                    FAILURES=100,
                )
                assert_same(found, wanted, 1e-10)
            masses.append(float(wanted.certificate.fallback_mass.max()))
    assert max(masses) > 0.01


@pytest.mark.parametrize("rule", EXACT)
def test_what_holds_is_looked_at_a_few_times(
    rule: str, apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    stages = [s for _ in range(8) for s in (Residualised(), nn.BatchNorm2d(4))]
    network = seeded(nn.Sequential(nn.Conv2d(2, 4, 3), *stages, nn.Flatten(), nn.Linear(144, 3)))
    x = torch.rand(2, 2, 8, 8).double() + 0.1
    method, held = bm.BiasBackprop(network, rule), failing(monkeypatch)
    wanted = method.explain(x, 0)
    assert not held
    assert_same(apart(lambda: method.explain(x, 0)), wanted, 1e-12)
    assert held
    assert all(held)
    assert float(wanted.certificate.fallback_mass.max()) == 0
    few = apart(lambda: reads(lambda: method.explain(x, 0)))
    assert few < 10
    assert reads(lambda: method.explain(x, 0)) > 5 * few
    assert apart(lambda: reads(lambda: bm.local_affine(network, x, 0))) < 5


class Residualised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.inner(x))


@pytest.mark.parametrize("rule", EXACT)
def test_dead_channels_without_bias_are_no_failure(
    rule: str, apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = seeded(
        nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
    )
    net[0].bias.data[1] = -100  # type: ignore[union-attr, operator, index]
    x, method, held = (
        torch.rand(2, 2, 6, 6).double(),
        bm.BiasBackprop(net, rule),
        failing(monkeypatch),
    )
    assert_same(apart(lambda: method.explain(x, 0)), method.explain(x, 0), 1e-12)
    assert held == [True]


@pytest.mark.parametrize("rule", EXACT)
def test_a_slope_of_zero_with_bias_is_found(
    rule: str, apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    for act in (nn.Identity(), nn.ReLU()):
        net = seeded(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), act, nn.Conv2d(4, 4, 4)))
        net[1].weight.data[2] = 0  # type: ignore[union-attr, operator, index]
        net[1].bias.data[2] = 1  # type: ignore[union-attr, operator, index]
        model = nn.Sequential(net, nn.Flatten(), nn.Linear(4, 3).double()).eval()
        x, method = torch.rand(2, 2, 6, 6).double(), bm.BiasBackprop(model, rule)
        wanted, held = method.explain(x, 0), failing(monkeypatch)
        assert float(wanted.certificate.fallback_mass.min()) > 0
        assert_same(apart(lambda m=method, x=x: m.explain(x, 0)), wanted, 1e-12)
        assert False in held


def test_after_failures_the_rest_is_walked_with_care(
    apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, held = bm.BiasBackprop(drawn(0), "uniform"), failing(monkeypatch)
    apart(lambda: method.explain(picture(2), 1), STRETCH=1, FAILURES=10**6)
    assert held.count(False) > 1
    many = len(held)
    held.clear()
    apart(lambda: method.explain(picture(2), 1), STRETCH=1, FAILURES=1)
    assert held.count(False) == 2  # once for stranded bias, and once for good
    assert len(held) < many


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("rule", EXACT)
def test_stranded_bias_is_handed_on_without_asking(
    rule: str, fallback: Fallback, apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    stages = [s for _ in range(9) for s in (nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU())]
    whole = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), *stages, nn.Flatten()
    net = seeded(nn.Sequential(*whole, nn.Linear(256, 3)))
    x, method = torch.rand(2, 2, 8, 8).double(), bm.BiasBackprop(net, rule, fallback=fallback)
    wanted, held = method.explain(x, 0), failing(monkeypatch)
    assert float(wanted.certificate.fallback_mass.min()) > 0.01
    assert_same(apart(lambda: method.explain(x, 0), STRETCH=10), wanted, 1e-12)
    assert held == [False, True, True, True]
    assert apart(lambda: reads(lambda: method.explain(x, 0)), STRETCH=10) < 12


class Masked(nn.Module):
    """Infinite logits, of which a softmax makes zeros; or infinities that stay."""

    def __init__(self, *, stays: bool) -> None:
        super().__init__()
        self.first, self.last, self.stays = nn.Linear(4, 6), nn.Linear(6, 3), stays

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([0, 0, -torch.inf, 0, 0, -torch.inf], dtype=x.dtype)
        h = self.first(x)
        if self.stays:
            h = h + torch.tensor([0, 0, 1e308, 0, 0, 1e308], dtype=x.dtype)
            return self.last(h * 0.1)
        return self.last(torch.softmax(h + mask, -1) + F.relu(h + mask))


@pytest.mark.parametrize("rule", RULES)
def test_infinite_activations(rule: str, apart: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4).double()
    net = seeded(Masked(stays=False))
    method = bm.BiasBackprop(net, rule)
    assert_same(apart(lambda: method.explain(x, 0)), method.explain(x, 0), 1e-12)
    form, wanted = apart(lambda: bm.local_affine(net, x, 0)), bm.local_affine(net, x, 0)
    assert_close(form.ledger.total(), wanted.ledger.total(), 1e-12)
    assert bool(form.ledger.total().isfinite().all())


@pytest.mark.parametrize("rule", EXACT)
def test_maps_that_are_not_finite_are_refused_alike(rule: str, apart: Callable[..., Any]) -> None:
    def outcome() -> str:
        layer = nn.Linear(2, 2, dtype=torch.float64)
        layer.weight.data = torch.tensor([[1e200, 1.0], [1.0, 1.0]]).double()
        layer.bias.data.fill_(1e200)
        method = bm.BiasBackprop(lambda x: layer(layer(x)) * 1e-200, rule)
        with pytest.raises(InputError) as error:
            method.explain(torch.ones(2, 2).double(), 0)
        return str(error.value)

    assert apart(outcome) == outcome()


class Nan:
    """A rule that hands out what is no number."""

    name = "nan"

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor | Lost]:
        return torch.full_like(x, torch.nan), Lost(None)

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        return e


class Raises(Nan):
    """A rule with an error of its own, always or only where what is taken to hold does not."""

    def __init__(self, *, always: bool) -> None:
        self.always = always

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor | Lost]:
        if self.always or not bool(x.isfinite().all()):
            raise ValueError("by the rule")
        return bm.BiasBackprop(nn.Identity(), "uniform").rule.split(mixing, x, tau, scale)


def test_a_rule_may_hand_out_nan_or_raise(apart: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    x, net = torch.randn(2, 4).double(), seeded(Masked(stays=False))
    with pytest.raises(InputError, match="The bias map is not finite at sample index 0"):
        apart(lambda: bm.BiasBackprop(net, Nan()).explain(x, 0))
    with pytest.raises(ValueError, match="by the rule"):
        apart(lambda: bm.BiasBackprop(net, Raises(always=True)).explain(x, 0))


def test_an_error_where_nothing_holds_is_none(apart: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(4, 6).double(), nn.Linear(1, 3).double()
    mask, x = torch.tensor([0, 0, -torch.inf, 0, 0, 0]).double(), torch.randn(2, 4).double()

    def model(x: Tensor) -> Tensor:
        return last(torch.logsumexp(first(x) + mask, -1, keepdim=True))  # type: ignore[no-any-return]

    method = bm.BiasBackprop(model, Raises(always=False))
    wanted = method.explain(x, 0)
    with assuming(), pytest.raises(ValueError, match="by the rule"):
        method.explain(x, 0)
    assert_same(apart(lambda: method.explain(x, 0)), wanted, 1e-12)


def test_probes_see_each_layer_once(apart: Callable[..., Any]) -> None:
    method, x = bm.BiasBackprop(seeded(Residual()), "uniform"), torch.rand(2, 2, 6, 6).double()
    wanted = method.explain(x, 0, diagnostics=True)
    found = apart(lambda: method.explain(x, 0, diagnostics=True))
    assert found.diagnostics == pytest.approx(wanted.diagnostics)
    timed = apart(lambda: method.explain(x, 0, profile=True)).profile
    assert [c.name for c in timed] == [c.name for c in method.explain(x, 0, profile=True).profile]


def test_padding_with_bias_on_it(apart: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    net = seeded(
        nn.Sequential(nn.ZeroPad2d(1), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 8), nn.Flatten())
    )
    method, x = bm.BiasBackprop(net, "uniform"), torch.rand(2, 2, 6, 6).double()
    wanted = method.explain(x, 0)
    assert float(wanted.certificate.fallback_mass.min()) > 0
    assert_same(apart(lambda: method.explain(x, 0)), wanted, 1e-12)


def test_while_somebody_keeps_count_every_layer_is_split_once(
    apart: Callable[..., Attribution],
) -> None:
    """Units without any weight strand their bias, so that what is taken to hold does not."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten())
    with torch.no_grad():
        network[2].weight[0] = 0
        network[2].bias[0] = 1
    x = torch.rand(1, 1, 7, 7)
    method = bm.BiasBackprop(network.eval(), "softmax_neg_abs")
    with listen() as wanted:
        method.explain(x, 0)
    with listen() as found:
        apart(lambda: method.explain(x, 0))
    assert [choice.form for choice in found] == [choice.form for choice in wanted]
