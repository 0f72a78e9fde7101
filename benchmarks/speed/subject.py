"""A model with the input it is explained at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.calibrate import calibrate
from benchmarks.load import Load, count_load


@dataclass(frozen=True)
class Subject:
    """What is timed.

    Attributes:
        name: Of the model.
        model: In float32 and evaluation mode.
        x: ``(N, C, H, W)``.
        target: ``(N,)`` the predicted classes.
        load: Of one sample's forward pass.
    """

    name: str
    model: nn.Module
    x: Tensor
    target: Tensor
    load: Load

    @property
    def connections(self) -> int:
        """Multiplications of the whole batch's forward pass."""
        return self.load.connections * len(self.x)

    def forward(self) -> Tensor:
        """The unit of time: a forward pass without gradient."""
        with torch.no_grad():
            out: Tensor = self.model(self.x)
        return out

    def to(self, device: str) -> Subject:
        """The same on another device; the model itself is moved."""
        return replace(
            self,
            model=self.model.to(device),
            x=self.x.to(device),
            target=self.target.to(device),
        )

    def first(self) -> Subject:
        """With the first sample alone."""
        return replace(self, x=self.x[:1], target=self.target[:1])


def subject_of(name: str, model: nn.Module, x: Tensor) -> Subject:
    """A subject at the classes that the model predicts."""
    model.eval()
    with torch.no_grad():
        target = model(x).argmax(1)
    return Subject(name, model, x, target, count_load(model, x))


def random_subject(name: str, model: nn.Module, batch: int, shape: tuple[int, int, int]) -> Subject:
    """Random parameters, no bias of them zero, activations of the order of one; random pictures.

    A network as torchvision makes it has no bias to attribute: its biases are zero.
    """
    calibrate(model.eval(), torch.rand(8, *shape))
    return subject_of(name, model, torch.rand(batch, *shape))
