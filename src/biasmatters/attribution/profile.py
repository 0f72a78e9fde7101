"""What each layer of a walk cost, and by which form its rule went."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.rules import Rule
from biasmatters.rules.journal import Choice, listen
from biasmatters.types import LayerCost


class Profiler:
    """Takes the place of a rule's split and writes down time and form, layer by layer."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._label = ""
        self._costs: list[LayerCost] = []

    def enter(
        self, label: str, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> None:
        """The walk's probe: the label of what is split next."""
        self._label = label

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor | Lost]:
        """The rule's own split, timed."""
        _settle(x)
        begin = perf_counter()
        with listen() as choices:
            found = self._rule.split(mixing, x, tau, scale)
        _settle(x)
        self._costs.append(_cost(self._label, type(mixing).__name__, choices, begin))
        return found

    def costs(self) -> tuple[LayerCost, ...]:
        """One row for each layer, in the order of the walk."""
        return tuple(self._costs)


def _settle(x: Tensor) -> None:
    """Wait for the device, so that a layer's time is its own."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def _cost(label: str, kind: str, choices: list[Choice], begin: float) -> LayerCost:
    seconds = perf_counter() - begin
    connections: dict[str, int] = {}
    for choice in choices:
        connections[choice.form] = connections.get(choice.form, 0) + choice.connections
    expanded = [c for c in choices if c.form == "expansion"]
    return LayerCost(
        name=label,
        kind=kind,
        form="+".join(dict.fromkeys(c.form for c in choices)) or "own",
        seconds=seconds,
        connections=connections,
        reach=max((c.reach for c in choices if c.reach is not None), default=None),
        rank=max((c.rank for c in expanded), default=0),
        bound=max((c.bound for c in expanded), default=0.0),
    )
