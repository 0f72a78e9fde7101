"""Random graphs: whatever is wired together, the local form is exact and every rule complete."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import biasmatters as bm
from tests.affine.graphs import STEPS, Draw, build
from tests.affine.reach import largest_move, recorded, step_to

# Below it round-off in x + step is no longer small beside the step.
NARROW = 1e-8
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}

draws = st.builds(
    Draw,
    op=st.sampled_from(STEPS),
    width=st.integers(1, 6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    group=st.integers(0, 3),
    mode=st.integers(0, 3),
)
graphs = st.lists(draws, min_size=1, max_size=7)
seeds = st.integers(0, 10**6)


def check(steps: list[Draw], seed: int, rule: str, seen: Counter[str]) -> None:
    net, x = build(steps, seed)
    leaf = x.clone().requires_grad_()
    output = net(leaf.clone())[:, 1]
    (grad,) = torch.autograd.grad(output.sum(), leaf)
    form = bm.local_affine(net, x, 1)
    scale = 1 + form.bias.abs() + form.ledger.absolute()
    assert form.certificate.verdict == "exact"
    assert bool((form.certificate.residual <= 1e-9 * scale).all())
    torch.testing.assert_close(form.output, output.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(form.weight, grad, rtol=1e-10, atol=1e-12)
    found = bm.BiasBackprop(net, rule).explain(x, 1)
    assert bool((found.residual <= 1e-9 * scale).all())
    probe_the_margin(net, x, form, seen)


def affine_at(form: bm.LocalAffine, x: Tensor) -> Tensor:
    assert isinstance(form.weight, Tensor)
    return (form.weight * x).flatten(1).sum(1) + form.bias


def probe_the_margin(net: nn.Module, x: Tensor, form: bm.LocalAffine, seen: Counter[str]) -> None:
    """f(x + d) = w (x + d) + b while no pre-activation moves by as much as the margin.

    A margin of 0 (a ReLU of a ReLU) promises nothing; those samples are counted and not moved.
    """
    margin = form.certificate.margin
    wide = margin > NARROW
    reach = 0.9 * margin.where(wide, 0).clamp_max(1)
    step = step_to(net, x, 1, reach)
    moved = net(x + step)[:, 1].detach()
    torch.testing.assert_close(moved, affine_at(form, x + step), rtol=1e-10, atol=1e-10)
    again = bm.local_affine(net, x + step, 1)
    torch.testing.assert_close(again.weight, form.weight, rtol=1e-10, atol=1e-12)
    moves = largest_move(recorded(net, x, 1), recorded(net, x + step, 1))
    # Strides can skip all that depends on x, and then nothing moves.
    finite = wide & margin.isfinite() & (moves > 0)
    torch.testing.assert_close(moves[finite], reach[finite], rtol=1e-5, atol=1e-12)
    far = x + torch.randn_like(x)
    left = (net(far)[:, 1].detach() - affine_at(form, far)).abs() > 1e-6
    assert not bool((left & margin.isinf()).any())
    seen.update(graphs=1, bounded=bool(margin.isfinite().any()), wide=bool(finite.any()))
    seen.update(left=bool((left & finite).any()), narrow=bool((~wide).any()))


def assert_probed(seen: Counter[str]) -> None:
    """Enough graphs have boundaries, a margin that says something, and pieces to leave."""
    assert seen["bounded"] >= 0.5 * seen["graphs"], seen
    assert seen["wide"] >= 0.7 * seen["bounded"], seen
    assert seen["left"] >= 0.6 * seen["wide"], seen


def run(examples: int, derandomize: bool) -> Counter[str]:
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, derandomize=derandomize, **QUIET)
    @given(steps=graphs, seed=seeds, rule=st.sampled_from(bm.RULES))
    def body(steps: list[Draw], seed: int, rule: str) -> None:
        check(steps, seed, rule, seen)

    body()
    return seen


def test_random_graphs() -> None:
    assert_probed(run(60, derandomize=True))


@pytest.mark.slow
def test_many_random_graphs() -> None:
    assert_probed(run(1500, derandomize=False))


@pytest.mark.parametrize("op", STEPS)
def test_every_step_alone(op: str) -> None:
    for i, rule in enumerate(bm.RULES):
        check([Draw(op, 4, 1 + i % 3, 1 + i % 2, 1 + i // 3, i % 3, i % 4)], i, rule, Counter())
