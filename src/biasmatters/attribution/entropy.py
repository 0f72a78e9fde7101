"""How even a rule splits: the mean row entropy of alpha for each layer."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.mixing import Mixing
from biasmatters.rules import Rule
from biasmatters.rules.direct import every_block


class EntropyProbe:
    """Collects ``-sum_q alpha log alpha`` over the units that hand out bias, in nats.

    T of the softmax rules has the units of the activations; this says what it does to a network.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._sums: dict[str, tuple[float, int]] = {}

    def __call__(
        self, label: str, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> None:
        """Measure one mixing operation, connection by connection."""
        total, count = self._sums.get(label, (0.0, 0))
        for block in every_block(mixing, x, tau, scale):
            alpha = self._rule.alpha(block.e, block.present, block.tau, 3)
            rows = torch.special.entr(alpha).sum(3)
            active = block.present.any(3) & (block.tau.squeeze(3) != 0)
            total += float(rows[active].sum())
            count += int(active.sum())
        self._sums[label] = (total, count)

    def means(self) -> dict[str, float]:
        """Mean row entropy by layer, as ``row_entropy/<layer>``."""
        return {f"row_entropy/{k}": s / n for k, (s, n) in self._sums.items() if n}
