"""One recording with the walk over it: what every map with a bias part is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from biasmatters.affine.axis import row_sums
from biasmatters.affine.certify import certify, linear_part, relative
from biasmatters.affine.recording import Recording
from biasmatters.affine.walk import WalkResult
from biasmatters.types import Attribution, Certificate


@dataclass(frozen=True)
class Propagation:
    """A model recorded at its inputs, and its bias brought down to them.

    Attributes:
        recording: One forward and backward pass.
        walk: The bias maps with their accounts.
    """

    recording: Recording
    walk: WalkResult

    @cached_property
    def linear(self) -> Tensor:
        """``w . x`` of each sample, ``(N,)``."""
        return linear_part(self.recording)

    @property
    def bias(self) -> Tensor:
        """``f - w . x`` of each sample, ``(N,)``."""
        return self.recording.output - self.linear

    @property
    def delta(self) -> Tensor:
        """By how much the maps, with what was dropped, exceed the bias, ``(N,)``."""
        total = torch.stack([row_sums(m) for m in self.walk.maps]).sum(0)
        return total + self.walk.dropped - self.bias

    def certify(self, *, measure_margin: bool = False) -> Certificate:
        """The certificate of the recording, with the mass that took the fallback."""
        return certify(
            self.recording,
            self.recording.ledger(),
            self.bias,
            self.walk.fallback_mass,
            measure_margin=measure_margin,
        )

    def whole(self, part: Tensor, slack: Tensor | float = 0.0) -> Attribution:
        """A map of ``w . x`` with the bias map added, which should sum to f(x).

        Args:
            part: Like x.
            slack: ``(N,)`` what the part may be off by besides round-off.
        """
        certificate, made = self.certify(), part + self.walk.maps[0]
        output = self.recording.output
        total = row_sums(made) + self.walk.dropped
        round_off = certificate.tolerance + relative(self.bias.dtype) * self.linear.abs()
        return Attribution(
            map=made,
            target=self.recording.target,
            residual=(total - output).abs(),
            tolerance=round_off + slack,
            certificate=certificate,
            bias_share=torch.where(output == 0, torch.nan, self.bias / output),
        )
