"""One recording with the walk over it: what every map with a bias part is made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.axis import row_sums
from biasmatters.affine.certify import relative
from biasmatters.affine.recording import Point, Recording
from biasmatters.affine.walk import WalkResult
from biasmatters.types import Attribution, Certificate, Ledger


@dataclass(frozen=True)
class Propagation:
    """A model's value and gradient at its inputs, and its bias brought down to them.

    Attributes:
        point: From one forward and one backward pass.
        walk: The bias maps with their accounts.
        linear: ``w . x`` of each sample, ``(N,)``.
    """

    point: Point
    walk: WalkResult
    linear: Tensor

    @property
    def bias(self) -> Tensor:
        """``f - w . x`` of each sample, ``(N,)``."""
        return self.point.output - self.linear

    @property
    def delta(self) -> Tensor:
        """By how much the maps, with what was dropped, exceed the bias, ``(N,)``."""
        return self.walk.total + self.walk.dropped - self.bias


@dataclass(frozen=True)
class CertifiedPropagation(Propagation):
    """A propagation that says how exact it is.

    Attributes:
        ledger: The bias share of every operation.
        certificate: Of the recording, with the mass that took the fallback.
        recording: What was walked over, None if it was let go.
    """

    ledger: Ledger
    certificate: Certificate
    recording: Recording | None

    def whole(self, part: Tensor, slack: Tensor | float = 0.0) -> Attribution:
        """A map of ``w . x`` with the bias map added, which should sum to f(x).

        Args:
            part: Like x.
            slack: ``(N,)`` what the part may be off by besides round-off.
        """
        certificate, made = self.certificate, part + self.walk.maps[0]
        output = self.point.output
        round_off = certificate.tolerance + relative(self.bias.dtype) * self.linear.abs()
        return Attribution(
            map=made,
            target=self.point.target,
            residual=(row_sums(made) + self.walk.dropped - output).abs(),
            tolerance=round_off + slack,
            certificate=certificate,
            bias_share=torch.where(output == 0, torch.nan, self.bias / output),
        )
