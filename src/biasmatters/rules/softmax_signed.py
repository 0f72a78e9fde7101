"""``softmax_signed``: The bias follows contributors of its own sign."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.affine.masks import kept
from biasmatters.affine.mixing import Mixing
from biasmatters.rules.exponentials import split_by_value
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.on_gpu import split_on_gpu
from biasmatters.rules.softmax import checked_temperature, contributions, live_units, masked_softmax


@dataclass(frozen=True)
class SoftmaxSigned:
    """The bias follows contributors of its own sign.

        alpha[p, q] proportional to 1[e != 0] exp(e sign(tau[p]) / T)

    Source: Wang, Zhou, Bilmes, ICML 2019 (recalled, low confidence).

    Attributes:
        temperature: T > 0, in the units of the activations, so it is not free of scale.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", checked_temperature(self.temperature))

    @property
    def name(self) -> str:
        """The rule's name."""
        return "softmax_signed"

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        """The formula above."""
        return masked_softmax(e * tau.sign() / self.temperature, present, dim)

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Connection by connection."""
        found = split_on_gpu("signed", self.temperature, mixing, x, tau, scale)
        if found is not None:
            return found
        count, live = live_units(mixing, x, scale)
        tau = kept(tau, live)
        if listening():
            note(Choice("direct", contributions(count, tau)))
        return split_by_value(self.temperature, mixing, x, tau, scale), live
