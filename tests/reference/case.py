"""An operation alone and within a network, explained by the walk and by its dense replica."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import biasmatters as bm
from biasmatters.affine.walker import Fallback
from tests.reference.links import Manner, Stage, bias_map, read

SOFT = ("softmax_neg_abs", "softmax_abs", "softmax_signed")


def manners(
    fallback: Fallback, foldings: Sequence[bool], temperatures: Sequence[float] = (0.3, 2.0)
) -> Iterator[Manner]:
    """Every rule; a temperature is for the softmax rules, and so is what does not fold."""
    for fold in foldings:
        for rule, temperature in product(SOFT, temperatures):
            yield Manner(rule, temperature, fold, fallback)
        for rule in ("proportional", "uniform") if fold else ():
            yield Manner(rule, 1.0, fold, fallback)


@dataclass(frozen=True)
class Case:
    """An operation and its replica.

    Attributes:
        op: Takes ``(N, *shape)`` and returns ``(N, *anything)``.
        shape: Of one sample.
        stages: The operation as a chain of stages around a sample ``(1, *shape)``.
    """

    op: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    stages: Callable[[Tensor], Sequence[Stage]]

    @classmethod
    def one(
        cls, op: Callable[[Tensor], Tensor], *shape: int, kind: str = "rule", affine: bool = True
    ) -> Case:
        """An operation that is a single stage."""
        return cls(op, shape, lambda _: [Stage(op, kind, affine)])  # type: ignore[arg-type]


Tail = Callable[[Tensor], list[Stage]]


def shifted(out: Tensor) -> list[Stage]:
    """A constant on top, so that the operation has a bias to split."""
    shift = torch.randn(out.shape[1:], dtype=out.dtype)
    return [Stage(lambda z: z + shift, "slope")]


def headed(act: Callable[[Tensor], Tensor]) -> Tail:
    """A gain, a constant, an activation and a linear layer."""

    def tail(out: Tensor) -> list[Stage]:
        gain = 0.5 + torch.rand(out.shape[1:], dtype=out.dtype)
        weight = torch.randn(3, out[0].numel(), dtype=out.dtype) / 2
        bias = torch.randn(3, dtype=out.dtype)
        return [
            Stage(lambda z: z * gain, "slope"),
            *shifted(out),
            Stage(act, "slope", affine=False),
            Stage(lambda h: F.linear(h.flatten(1), weight, bias)),
        ]

    return tail


def leaky(z: Tensor) -> Tensor:
    """A leaky ReLU with two different slopes, so that folding shows."""
    return F.leaky_relu(z, 0.3)


# With foldings and temperatures: only slopes other than 0 and 1 tell folded from apart.
TAILS: tuple[tuple[Tail, tuple[bool, ...], tuple[float, ...]], ...] = (
    (shifted, (True,), (0.3, 2.0)),
    (headed(F.relu), (True,), (2.0,)),
    (headed(leaky), (True, False), (0.3,)),
)


def assert_replicas_agree(case: Case, fallback: Fallback = "uniform") -> None:
    """Every rule, alone and in networks, within 1e-9 of the largest entry or 1."""
    torch.manual_seed(0)
    x = torch.randn(2, *case.shape, dtype=torch.float64)
    for tail, foldings, temperatures in TAILS:
        how = list(manners(fallback, foldings, temperatures))
        assert_agree(case, tail(case.op(x).detach()), x, how)


def assert_agree(case: Case, above: list[Stage], x: Tensor, how: list[Manner]) -> None:
    """One network at one batch."""

    def net(t: Tensor) -> Tensor:
        t = case.op(t)
        for stage in above:
            t = stage.function(t)
        return t.flatten(1)

    target = net(x).abs().argmax(1)
    links = [read([*case.stages(row), *above], row) for row in x.split(1)]
    for manner in how:
        bbp = bm.BiasBackprop(net, manner.rule, manner.temperature, manner.fold, manner.fallback)
        found = bbp.explain(x, target)
        pairs = zip(links, target.tolist(), strict=True)
        wanted = np.stack([bias_map(chain, k, manner) for chain, k in pairs])
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(
            found.map.flatten(1), wanted, rtol=1e-9, atol=1e-10, err_msg=str(manner)
        )
        assert found.complete
