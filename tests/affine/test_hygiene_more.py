"""Every way in leaves the user's model, tensors and process as they were, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.nets import Residual, seeded
from tests.affine.snapshot import snapshot


class Laden(nn.Module):
    """A network with state of every kind: buffers, plain tensors, gradients, hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm = Residual(), nn.BatchNorm1d(3)
        self.mask = torch.tensor([1.0, 0.5, 2.0]).double()
        self.gain = torch.ones(3).double().requires_grad_()
        self.shifts = [torch.zeros(3).double(), self.gain * 2]
        self.extra = {"unused": torch.ones(2)}
        self.register_buffer("offset", torch.ones(3))
        self.breaks = False

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.body(x)) * self.mask * self.gain + self.offset
        h = F.relu(h, inplace=True) + self.shifts[0] + self.shifts[1]
        if self.breaks:
            raise ArithmeticError("in the model's middle")
        return h


class Raising:
    """A rule that fails as it splits."""

    name = "raising"

    def split(self, *_: Any) -> Any:
        raise ArithmeticError("in the rule")

    def alpha(self, *_: Any) -> Any:
        raise ArithmeticError("in the rule")


def fail(_: Tensor) -> Tensor:
    raise ArithmeticError("in the target")


Way = Callable[..., Any]
WAYS: dict[str, Way] = {
    "local_affine": lambda net, x, t, rule="uniform", **o: bm.local_affine(net, x, t, **o),
    "attribute": lambda net, x, t, rule="uniform", **o: bm.BiasBackprop(net, rule, **o).attribute(
        x, t, return_convergence_delta=True),
    "chunks": lambda net, x, t, rule="uniform", **o: bm.BiasBackprop(net, rule, **o).attribute(
        x, t, internal_batch_size=1),
    "explain": lambda net, x, t, rule="uniform", **o: bm.BiasBackprop(net, rule, **o).explain(
        x, t, layers=True, diagnostics=True),
    "whole": lambda net, x, t, rule="uniform": bm.InputXGradientPlusBias(net, rule).explain(x, t),
    "gradient": lambda net, x, t, rule="uniform": bm.Gradient(net).explain(x, t),
}  # fmt: skip
WITH_OPTIONS = ("local_affine", "attribute", "chunks", "explain")
WITH_RULE = ("attribute", "chunks", "explain", "whole")


@pytest.fixture
def net() -> Laden:
    torch.manual_seed(0)
    made = seeded(Laden())
    assert isinstance(made, Laden)
    made.body.first.weight.requires_grad_(False)
    made.body.head.weight.grad = torch.ones_like(made.body.head.weight)
    made.gain.grad = torch.ones(3).double()
    made.norm.register_forward_hook(lambda *_: None)
    made.body.head.register_full_backward_hook(lambda *_: None)
    return made


@pytest.fixture(params=["plain", "leaf", "inner"])
def x(request: pytest.FixtureRequest) -> Tensor:
    """An input without grad, one that has a gradient, and one in the middle of a graph."""
    made = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(3)).double()
    if request.param == "plain":
        return made
    made.requires_grad_()
    made.grad = torch.ones_like(made)
    return made if request.param == "leaf" else made * 2


@pytest.mark.parametrize("way", WAYS)
def test_nothing_has_changed(net: Laden, x: Tensor, way: str) -> None:
    before = snapshot(net, x)
    WAYS[way](net, x, [0, 2])
    assert snapshot(net, x) == before


@pytest.mark.parametrize("way", WITH_OPTIONS)
def test_nothing_has_changed_under_eval_mode(net: Laden, x: Tensor, way: str) -> None:
    net.train()
    net.body.norm.eval()
    before = snapshot(net, x)
    WAYS[way](net, x, 1, eval_mode=True)
    assert snapshot(net, x) == before
    net.breaks = True
    before = snapshot(net, x)
    with pytest.raises(ArithmeticError, match="middle"):
        WAYS[way](net, x, 1, eval_mode=True)
    assert snapshot(net, x) == before


@pytest.mark.parametrize(
    ("way", "where"),
    [(w, p) for w in WAYS for p in ("middle", "target")] + [(w, "rule") for w in WITH_RULE],
)
def test_nothing_has_changed_after_an_exception(
    net: Laden, x: Tensor, way: str, where: str
) -> None:
    net.breaks = where == "middle"
    before = snapshot(net, x)
    with pytest.raises(ArithmeticError, match=where):
        WAYS[way](net, x, fail if where == "target" else 1,
                  rule=Raising() if where == "rule" else "uniform")  # fmt: skip
    assert snapshot(net, x) == before
    net.breaks = False
    assert bm.BiasBackprop(net).explain(x, 1).complete


def test_the_snapshot_sees_what_it_should(net: Laden) -> None:
    """Each of these is a change that a careless engine makes."""
    x = torch.ones(2, 2, 4, 4).double()
    changes: list[Callable[[], Any]] = [
        lambda: net.gain.requires_grad_(not net.gain.requires_grad),
        lambda: net.mask.add_(0),
        lambda: net.shifts[0].mul_(2),
        lambda: net.offset.zero_(),
        lambda: setattr(net, "offset", net.offset.clone()),
        lambda: net.norm.train(not net.norm.training),
        lambda: net.body.head.weight.grad.mul_(1),
        lambda: net.register_forward_hook(lambda *_: None),
        lambda: setattr(net, "left_behind", 1),
        lambda: torch.rand(1),
        lambda: x.requires_grad_(),
        lambda: x.grad.zero_() if x.grad is not None else x.sum().backward(),
    ]
    for change in changes:
        before = snapshot(net, x)
        change()
        assert snapshot(net, x) != before


class Counting(nn.Module):
    """Counts its calls, keeps a running mean and the last input, all in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("n", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        h = self.layer(x)
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
        self.last = h.detach()[0]
        return F.relu(h)


class Caching(nn.Module):
    """Makes something of a parameter once and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.randn(3))
        self.layer = nn.Linear(3, 2)
        self.c: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.c is None:
            self.c = self.p.exp()
        return self.layer(x * self.c)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_counts_its_calls(way: str) -> None:
    torch.manual_seed(0)
    net, x = seeded(Counting()), torch.randn(2, 3, dtype=torch.float64)
    net(x)
    named = dict(net.named_buffers())
    before = {name: (id(t), t.clone(), t.requires_grad) for name, t in named.items()}
    WAYS[way](net, x, 1)
    for name, (identity, values, flag) in before.items():
        now = net.get_buffer(name)
        assert (id(now), now.requires_grad) == (identity, flag), name
        assert torch.equal(now, values), name
    net(x)
    assert int(net.n) == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("filled", [False, True])
def test_a_model_that_caches(way: str, filled: bool) -> None:
    """What it keeps still belongs to the parameter's graph, so that it can go on training."""
    torch.manual_seed(0)
    net, x = seeded(Caching()), torch.randn(2, 3, dtype=torch.float64)
    assert isinstance(net, Caching)
    if filled:
        net(x)
    kept = net.c
    WAYS[way](net, x, 1)
    assert net.c is kept or (not filled and net.c is not None and net.c.requires_grad)
    net(x).sum().backward()
    assert net.p.grad is not None
    (wanted,) = torch.autograd.grad(net.layer(x * net.p.exp()).sum(), net.p)
    torch.testing.assert_close(net.p.grad, wanted)
