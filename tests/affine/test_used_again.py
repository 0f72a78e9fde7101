"""What arrives at a tensor from several uses adds up, in whoever's place the sum is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from biasmatters.kernels import without_kernels
from tests.affine.nets import seeded
from tests.affine.test_backward import assert_plain
from tests.affine.test_chains import CHANNELS, CLASSES, FALLBACKS, Fallback, assert_close, picture

pytestmark = pytest.mark.usefixtures("one_thread")

Use = Callable[[Tensor], Tensor]
RULES = ("uniform", "proportional", "softmax_neg_abs")
KERNELS = {"points": 1, "planes": 3, "depthwise": 3}


class Uses(nn.Module):
    """Convolutions with their batch-norm and bend, and a use that is a clone or the thing."""

    def __init__(self, kind: str, *, apart: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        groups, size = (CHANNELS if kind == "depthwise" else 1), KERNELS[kind]
        self.layers = nn.ModuleList(
            nn.Conv2d(CHANNELS, CHANNELS, size, padding=size // 2, groups=groups) for _ in range(5)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS) for _ in range(5))
        self.head = nn.Linear(CHANNELS, CLASSES)
        self.apart = apart

    def use(self, x: Tensor) -> Tensor:
        return x.clone() if self.apart else x

    def bent(self, i: int, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.norms[i](self.layers[i](self.use(x))))
        return out

    def classes(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x.flatten(2).mean(2))
        return out


class ThreeAndASum(Uses):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        ways = [self.bent(i, y) for i in (1, 2, 3)]
        return self.classes(F.relu(ways[0] - ways[1]) + ways[2] + self.use(y))


class SumBetween(Uses):
    """What the sum hands to both is one tensor, and one of them has got something before."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        z = self.bent(1, y)
        total = self.use(z) + self.use(y)
        late = self.bent(2, y) * 2 - self.bent(3, z)
        return self.classes(self.bent(4, total) + late)


class BentSum(Uses):
    """A chain that begins with a sum, which hands the same to both."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        z = self.bent(1, y)
        total = F.relu(self.norms[4](self.use(z) + self.use(y)))
        late = self.bent(2, y) - self.bent(3, z)
        return self.classes(total - late)


class OfTheInput(Uses):
    def forward(self, x: Tensor) -> Tensor:
        first = self.bent(0, x) + self.use(x)
        return self.classes(self.bent(1, x) - self.bent(2, first) + self.use(x) - self.use(first))


class Viewed(Uses):
    """A view goes back as a view of what arrived above it."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        flat = self.use(y).flatten(2)
        late = self.bent(1, y)
        rows = self.use(y).view(y.shape) + self.use(flat).view(y.shape)
        return self.classes(self.bent(2, rows) + self.bent(3, y) + late)


class TheMeanOfWhatIsUsed(Uses):
    """A mean hands the same number to all places, in one place of memory."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        gate = self.use(y).mean((2, 3), keepdim=True)
        late = self.bent(1, y) + self.bent(2, y)
        return self.classes(late + gate) + self.classes(self.use(y))


class Twice(Uses):
    """Twice the same is no sum of two; that has a fallback of its own, so its maps differ."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bent(0, x)
        doubled = self.use(y) + self.use(y)
        return self.classes(self.bent(1, doubled) + self.bent(1, y) + self.bent(2, doubled))


NETWORKS = [ThreeAndASum, SumBetween, BentSum, OfTheInput, Viewed, TheMeanOfWhatIsUsed]


def pair(network: type[Uses], kind: str) -> tuple[nn.Module, nn.Module]:
    """The network, and the same with clones before every use."""
    plain, cloned = network(kind, apart=False), network(kind, apart=True)
    seeded(plain)
    cloned.load_state_dict(plain.state_dict())
    return plain, cloned.double().eval()


@pytest.fixture(params=["with kernels", "without"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    with without_kernels() if request.param == "without" else nullcontext():
        yield request.param


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("network", NETWORKS)
def test_as_if_each_use_had_a_clone(
    network: type[Uses], kind: str, rule: str, kernels: str
) -> None:
    (plain, cloned), x = pair(network, kind), picture(2)
    for fallback in FALLBACKS:
        assert_alike(plain, cloned, x, rule, fallback)


def assert_alike(
    plain: nn.Module, cloned: nn.Module, x: Tensor, rule: str, fallback: Fallback
) -> None:
    found = bm.BiasBackprop(plain, rule, fallback=fallback).explain(x, 1)
    wanted = bm.BiasBackprop(cloned, rule, fallback=fallback).explain(x, 1)
    assert found.complete or fallback == "drop"
    assert found.certificate is not None
    assert wanted.certificate is not None
    assert_close(found.single, wanted.single, 1e-10)
    assert_close(found.certificate.fallback_mass, wanted.certificate.fallback_mass, 1e-10)


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("network", [*NETWORKS, Twice])
def test_gradients(network: type[Uses], kind: str) -> None:
    (plain, cloned), x = pair(network, kind), picture(2)
    assert_plain(plain, x)
    assert_plain(cloned, x)
    mine, other = bm.local_affine(plain, x, 1), bm.local_affine(cloned, x, 1)
    assert_close(mine.weight, other.weight, 1e-10)
    assert_close(mine.bias, other.bias, 1e-10)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", [*NETWORKS, Twice])
def test_a_second_time_it_is_the_same(network: type[Uses], rule: str) -> None:
    """Nothing was written to that the network or the caller keeps."""
    (plain, _), x = pair(network, "planes"), picture(2)
    before, method = x.clone(), bm.BiasBackprop(plain, rule)
    first = method.attribute(x, 1).clone()
    assert torch.equal(method.attribute(x, 1), first)
    assert torch.equal(x, before)


@pytest.mark.parametrize("rule", RULES)
def test_maps_of_layers_are_not_added_to(rule: str) -> None:
    """Of a view's they share the memory."""
    (plain, _), x = pair(Viewed, "planes"), picture(2)
    layers = bm.BiasBackprop(plain, rule).explain(x, 1, layers=True).layers
    total, one, other = (layers[name].sum() for name in ("add", "view", "view#2"))
    torch.testing.assert_close(one + other, total)
    torch.testing.assert_close(layers["flatten"].sum(), other)
