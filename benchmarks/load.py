"""How many multiplications a forward pass makes, and what it reads and writes for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Load:
    """Of one sample's forward pass, in convolutions, linear layers and attention.

    Attributes:
        connections: Multiplications, which are the connections that a rule looks at.
        inputs: Numbers that the layers read, beside their weights.
        weights: Numbers in their weights.
        outputs: Numbers that they write.
    """

    connections: int
    inputs: int
    weights: int
    outputs: int


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch knows of the cost of convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.connections = self.inputs = self.weights = self.outputs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        cost = flop_registry.get(func.overloadpacket)
        if cost is not None:
            self.connections += cost(*args, **(kwargs or {}), out_val=out) // 2
            sizes = [a.numel() for a in args if isinstance(a, Tensor) and a.ndim > 1]
            self.inputs += sum(sizes[:1])
            self.weights += sum(sizes[1:2])
            self.outputs += out.numel() if isinstance(out, Tensor) else 0
        return out


def count_load(model: nn.Module, x: Tensor) -> Load:
    """The load of the first sample of ``x``."""
    with torch.no_grad(), _Counter() as counter:
        model(x[:1])
    return Load(counter.connections, counter.inputs, counter.weights, counter.outputs)
