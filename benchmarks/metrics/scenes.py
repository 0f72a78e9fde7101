"""What metrics are timed on: a model, pictures, and maps of several methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn

from biasmatters.metrics.functional.following import pictures_per_pass
from biasmatters.models import CNN

METHODS = 8


@dataclass(frozen=True)
class Scene:
    """A model with random weights in evaluation mode, random pictures and random maps.

    Attributes:
        model: Gives ten logits.
        x: ``(N, C, H, W)``.
        maps: By method, ``(N, H, W)``.
        target: ``(N,)``.
        steps: Of each curve.
        pool: A chunk of pictures to make batches of for the bare forward passes.
    """

    model: nn.Module
    x: Tensor
    maps: dict[str, Tensor]
    target: Tensor
    steps: int
    pool: Tensor

    @property
    def chunk(self) -> int:
        """Pictures in a forward pass, where nobody asks for another number."""
        return len(self.pool)

    @property
    def map(self) -> Tensor:
        """The maps of the first method."""
        return next(iter(self.maps.values()))

    def forward(self, sizes: Sequence[int]) -> None:
        """The unit of time: forward passes without gradient, of so many pictures each."""
        with torch.no_grad():
            for size in sizes:
                self.model(self.pool[:size])


def batches(pictures: int, points: int, chunk: int) -> list[int]:
    """The sizes of the batches in which `follow` scores some pictures at some points each."""
    sizes = []
    for first in range(0, pictures, chunk):
        n = min(chunk, pictures - first)
        passes = -(-points // max(1, chunk // n))
        sizes += [n * len(some) for some in torch.arange(points).tensor_split(passes)]
    return sizes


# Pictures and steps of each scene, and of its quick form.
SIZES = {
    "ResNet-18": ((64, 32), (4, 4)),
    "ResNet-18, few": ((16, 32), (2, 2)),
    "CNN": ((1000, 32), (40, 4)),
    "CNN, two chunks": ((512, 8), (512, 2)),
    "CNN, eight chunks": ((2048, 8), (2048, 2)),
}


def make_scene(name: str, *, quick: bool) -> Scene:
    """The same scene at every call.

    Args:
        name: One of `SIZES`.
        quick: Whether to make its small form.
    """
    pictures, steps = SIZES[name][quick]
    kind = name.partition(",")[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, shape = MODELS[kind]()
        x = torch.randn(pictures, *shape)
        maps = {f"method {i}": torch.randn(pictures, *shape[1:]) for i in range(METHODS)}
        pool = torch.randn(pictures_per_pass(x), *shape)
    return Scene(model.eval(), x, maps, torch.arange(pictures) % 10, steps, pool)


def _resnet18() -> tuple[nn.Module, tuple[int, ...]]:
    return torchvision.models.resnet18(num_classes=10), (3, 32, 32)


def _cnn() -> tuple[nn.Module, tuple[int, ...]]:
    return CNN(in_channels=1, image_size=28, num_classes=10), (1, 28, 28)


MODELS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "ResNet-18": _resnet18,
    "CNN": _cnn,
}
