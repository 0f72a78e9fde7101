"""What a review of the kernels found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("numba")

import biasmatters as bm
from biasmatters import kernels
from biasmatters.affine import registry
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.ops.dense import linear
from biasmatters.kernels import availability, machine_code, threads, without_kernels
from biasmatters.kernels.openmp import OPENMP
from biasmatters.rules import SoftmaxNegAbs, Uniform


def agree(
    network: Callable[[Tensor], Tensor], x: Tensor, rule: str = "softmax_abs", within: float = 1e-5
) -> None:
    method = bm.BiasBackprop(network, rule)
    found = method.explain(x, 0)
    with without_kernels():
        wanted = method.explain(x, 0)
    assert found.complete
    assert wanted.complete
    torch.testing.assert_close(found.single, wanted.single, rtol=within, atol=within)
    mine, theirs = found.certificate, wanted.certificate
    assert mine is not None
    assert theirs is not None
    torch.testing.assert_close(mine.fallback_mass, theirs.fallback_mass)
    torch.testing.assert_close(mine.injected_mass, theirs.injected_mass)


@pytest.mark.parametrize("rule", ["softmax_neg_abs", "softmax_abs"])
@pytest.mark.parametrize("shape", [(1, 1, 6, 6), (1, 4, 1, 6), (2, 1, 1, 1), (1, 4, 1, 1)])
def test_a_slope_that_is_not_one_for_each_channel(shape: tuple[int, ...], rule: str) -> None:
    torch.manual_seed(0)
    factor = torch.rand(shape) * 3 + 0.2
    first, last = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Linear(144, 2)
    agree(lambda x: last((first(x) * factor).flatten(1)), torch.randn(2, 4, 6, 6), rule)


def test_weights_that_are_nothing_beside_the_temperature() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)
    with torch.no_grad():
        conv.weight[0] = 1e-30
        norm.weight[0], norm.bias[0] = 1e-20, 3.0
    network = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    agree(network, torch.randn(2, 4, 6, 6).abs())


@pytest.mark.parametrize("shape", [(), (1,), (1, 5), (2, 1), (2, 5), (5,)])
def test_a_bias_of_any_shape_that_broadcasts(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight, bias, last = torch.randn(5, 4), torch.randn(shape), nn.Linear(5, 2)
    agree(lambda x: last(F.linear(x, weight, bias).relu()), torch.randn(2, 4), "proportional")


def test_a_numba_that_cannot_be_loaded_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch, biasmatters as bm\n"
        "from biasmatters.kernels import available\n"
        "net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))\n"
        "assert not available()\n"
        "assert bm.BiasBackprop(net, 'uniform').explain(torch.ones(1, 3), 0).complete\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)


def test_no_place_for_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine_code.njit

    def njit(**options: object) -> Callable[..., object]:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return made(**options)  # type: ignore[no-any-return]

    monkeypatch.setattr(machine_code, "njit", njit)
    assert machine_code.compiled(lambda a: a + 1)(1) == 2


def test_a_handler_of_the_users_own_is_asked() -> None:
    registry.register_op(F.linear, lambda call: replace(linear(call), intercept=lambda: None))
    try:
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        ledger = bm.local_affine(network, torch.ones(1, 3), 0).ledger
    finally:
        for function in [f for f in registry._by_function if f is F.linear]:
            del registry._by_function[function]
    assert [row.name for row in ledger] == [""]


@dataclass(frozen=True)
class Counting(Uniform):
    """A rule with a split of its own and Uniform's split of branches."""

    calls: list[str] = field(default_factory=list)

    def split(self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None):  # type: ignore[no-untyped-def]
        self.calls.append(type(mixing).__name__)
        return super().split(mixing, x, tau, scale)


def test_a_split_of_ones_own_is_asked_at_branches_too() -> None:
    rule, inner, last = Counting(), nn.Linear(4, 4), nn.Linear(4, 2)
    bm.BiasBackprop(lambda x: last((inner(x) + x).relu()), rule).explain(torch.ones(1, 4), 0)
    assert "BranchMap" in rule.calls


def test_work_goes_on_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    monkeypatch.setattr(threads, "LEAST", 1)
    monkeypatch.setattr(threads, "spinning", lambda: False)
    monkeypatch.setattr(threads._POOL, "of", lambda size: closed)
    seen: list[int] = []
    threads.side_by_side(lambda start, stop: seen.extend(range(start, stop)), 10, 1000)
    assert sorted(seen) == list(range(10))


def test_one_core_does_not_take_the_place_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3)
    monkeypatch.setattr(availability.torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(availability, "spinning", lambda: True)
    assert kernels.fit(x) == OPENMP.at_hand
    monkeypatch.setattr(OPENMP, "at_hand", False)
    monkeypatch.setattr(availability, "spinning", lambda: True)
    assert not kernels.fit(x)
    monkeypatch.setattr(availability, "spinning", lambda: False)
    assert kernels.fit(x)


def test_a_rule_keeps_what_it_returned() -> None:
    kept: list[tuple[Tensor, Tensor]] = []

    @dataclass(frozen=True)
    class Keeping(SoftmaxNegAbs):
        def split(self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None):  # type: ignore[no-untyped-def]
            beta, live = super().split(mixing, x, tau, scale)
            kept.append((beta, beta.clone()))
            return beta, live

    a, b, last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def network(x: Tensor) -> Tensor:
        h = a(x).relu()
        return last((b(h) + h).relu())  # type: ignore[no-any-return]

    bm.BiasBackprop(network, Keeping()).explain(torch.ones(1, 4), 0)
    assert kept
    assert all(torch.equal(now, then) for now, then in kept)
