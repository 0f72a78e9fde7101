"""Sums over data that a layer's patterns are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.baselines.reweighted import reweighted, weight_of

_CONSTANT = 1e-12


@dataclass
class PatternMoments:
    """Float64 sums over all samples and places of one layer, over a chosen regime where named so.

    ``sum m x`` and ``sum m x y`` over the places of a layer are the gradients of ``<m, W x>`` and
    ``<m y, W x>`` by W, so no patch is ever cut out.
    """

    count: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | None = None

    def add(self, call: Call, active: Tensor | None) -> None:
        """Count one batch.

        Args:
            call: The recorded layer.
            active: Where the regime is, like the output; None for everywhere.
        """
        self.weight = weight_of(call)
        leaf = self.weight.double().requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            made = reweighted(call, leaf).run([call.inputs[0].detach().double()])
            y = made.detach()
            m = torch.ones_like(y) if active is None else active.to(y)
            (mx,) = torch.autograd.grad(made, leaf, m, retain_graph=True)
            (mxy,) = torch.autograd.grad(made, leaf, m * y)
        units = -1 if call.op == "linear" else -1 - int(call.op[4])
        self.count += y.numel() / max(y.shape[units], 1)
        parts = {"y": y, "m": m, "my": m * y, "myy": m * y * y}
        new = {name: _per_unit(part, units) for name, part in parts.items()}
        for name, value in {**new, "mx": mx, "mxy": mxy}.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def pattern(self) -> tuple[Tensor, int]:
        """Like the weight, and the number of units without a pattern."""
        if self.weight is None:
            raise ValueError("no batch was counted")
        wide = (-1, *(1,) * (self.weight.ndim - 1))
        n = self.sums["m"].clamp_min(1)
        mean = self.sums["y"] / max(self.count, 1)
        square = self.sums["myy"] / n
        below = square - self.sums["my"] / n * mean
        above = (self.sums["mxy"] - self.sums["mx"] * mean.reshape(wide)) / n.reshape(wide)
        none = below.abs() <= _CONSTANT * square
        safe = below.masked_fill(none, 1).reshape(wide)
        found = (above / safe).masked_fill(none.reshape(wide), 0)
        return found.to(self.weight), int(none.sum())


def _per_unit(values: Tensor, axis: int) -> Tensor:
    return values.movedim(axis, 0).flatten(1).sum(1) if values.ndim > 1 else values.clone()
