"""The LightningModule that attributes: one predict step explains one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from biasmatters.training.memory import peak_bytes
from biasmatters.types import Attribution, Attributor, BiasmattersError

Batch = tuple[Tensor, Tensor, Tensor]
Diagnose = Callable[[Tensor, Tensor], Mapping[str, float]]


class IncompleteError(BiasmattersError):
    """A map does not add up to what its method promises."""


class Explained(NamedTuple):
    """Maps of one batch, on the CPU.

    Attributes:
        maps: ``(N, C, H, W)``.
        target: ``(N,)`` explained class.
        image: ``(N,)`` image ids.
        residual: ``(N,)`` distance of the map's sum from its promised total, NaN without one.
        tolerance: ``(N,)`` the distance that round-off explains, NaN likewise.
        fallback: ``(N,)`` share of the bias split by the fallback, NaN without a certificate.
        diagnostics: Named figures of the method on this batch, mostly none.
        seconds: Time of the attribution.
        forward_seconds: Time of one plain forward pass of the same batch.
        memory: Bytes that the attribution held at its peak beyond those held before; None where
            that was not measured.
    """

    maps: Tensor
    target: Tensor
    image: Tensor
    residual: Tensor
    tolerance: Tensor
    fallback: Tensor
    diagnostics: Mapping[str, float]
    seconds: float
    forward_seconds: float
    memory: int | None


class Explain(pl.LightningModule):
    """Explains the class that a network predicts on each image.

    Args:
        model: The network; it moves with this module.
        attributor: A method bound to that very network.
        diagnose: Measures the method on the first batch, apart from the clock; None to not.
    """

    def __init__(
        self, model: nn.Module, attributor: Attributor, diagnose: Diagnose | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.attributor = attributor
        self.diagnose = diagnose

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> Explained:
        """Explain one batch.

        Raises:
            IncompleteError: A map of an exact method, one with a certificate, misses its total by
                more than round-off.
        """
        x, _, image = batch
        with torch.no_grad():
            logits, forward_seconds = self._timed_forward(x)
        target = logits.argmax(1)
        found, seconds, memory = self._explained(x, target, measure=batch_idx == 0)
        _check(found, image)
        figures = self.diagnose(x, target) if self.diagnose and batch_idx == 0 else {}
        return Explained(
            maps=found.single.detach().cpu(),
            target=target.cpu(),
            image=image.cpu(),
            residual=found.residual.detach().cpu(),
            tolerance=found.tolerance.detach().cpu(),
            fallback=_fallback(found).detach().cpu(),
            diagnostics=figures,
            seconds=seconds,
            forward_seconds=forward_seconds,
            memory=memory,
        )

    def _explained(
        self, x: Tensor, target: Tensor, *, measure: bool
    ) -> tuple[Attribution, float, int | None]:
        """The attribution, its time, and the bytes it held at its peak."""
        kept: list[tuple[Attribution, float]] = []

        def work() -> None:
            started = self._clock()
            with torch.enable_grad():
                found = self.attributor.explain(x, target)
            kept.append((found, self._clock() - started))

        memory = None
        if measure:
            with torch.enable_grad():
                self.attributor.explain(x[:1], target[:1])  # libraries load what they need
            memory = peak_bytes(work, self.device.type)
        else:
            work()
        return *kept[0], memory

    def _timed_forward(self, x: Tensor) -> tuple[Tensor, float]:
        self.model(x)
        times = []
        for _ in range(3):
            started = self._clock()
            logits = self.model(x)
            times.append(self._clock() - started)
        return logits, sorted(times)[1]

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _check(found: Attribution, image: Tensor) -> None:
    if found.complete is not False:
        return
    if found.certificate is None:  # the method is not exact; its residuals are kept
        return
    excess = (found.residual - found.tolerance).nan_to_num(float("-inf"))
    worst = int(excess.argmax())
    raise IncompleteError(
        f"the map of image {int(image[worst])} misses its total by "
        f"{float(found.residual[worst]):.3g}, more than the {float(found.tolerance[worst]):.3g} "
        "that round-off explains. The stage has no result. Explain that image alone in "
        "float64 to see which operation is at fault, and please report it."
    )


def _fallback(found: Attribution) -> Tensor:
    if found.certificate is None:
        return torch.full_like(found.residual, float("nan"))
    return found.certificate.fallback_share
