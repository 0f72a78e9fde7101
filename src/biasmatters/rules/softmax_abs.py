"""``softmax_abs``: The bias follows strong contributors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.rules.by_size import split_by_size
from biasmatters.rules.softmax import (
    checked_temperature,
    checked_tolerance,
    masked_softmax,
)


@dataclass(frozen=True)
class SoftmaxAbs:
    """The bias follows strong contributors.

        alpha[p, q] proportional to 1[e != 0] exp(+|e| / T)

    Source: Wang, Zhou, Bilmes, ICML 2019 (recalled, medium confidence).

    Attributes:
        temperature: T > 0, in the units of the activations, so it is not free of scale.
        tolerance: What the errors of a unit's shares may add up to, from which the form of each
            layer follows by a proven bound (`biasmatters.rules.expansion`); None is 1e-6, and
            1e-11 in float64; 0 writes every connection out. Round-off comes on top.
    """

    temperature: float = 1.0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", checked_temperature(self.temperature))
        object.__setattr__(self, "tolerance", checked_tolerance(self.tolerance))

    @property
    def name(self) -> str:
        """The rule's name."""
        return "softmax_abs"

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        """The formula above."""
        return masked_softmax(e.abs() / self.temperature, present, dim)

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor | Lost]:
        """By an expansion or connection by connection, whichever is cheaper."""
        return split_by_size(1, self.temperature, self.tolerance, mixing, x, tau, scale)
