"""How many multiplications a forward pass makes: the connections that a rule looks at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch knows of the cost of convolutions and matrix products."""

    total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        cost = flop_registry.get(func.overloadpacket)
        if cost is not None:
            self.total += cost(*args, **(kwargs or {}), out_val=out) // 2
        return out


def count_connections(model: nn.Module, x: Tensor) -> int:
    """Multiplications for each sample of ``x`` in convolutions, linear layers and attention."""
    with torch.no_grad(), _Counter() as counter:  # type: ignore[no-untyped-call]
        model(x)
    return int(counter.total) // len(x)
