"""How pixels become network inputs: the split into w.x and b depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from biasmatters.data.errors import InvalidDataOptionError

NORMALIZATIONS: Final = ("unit", "standard", "symmetric")


@dataclass(frozen=True)
class Normalization:
    """The affine map from pixels in [0, 1] to network inputs: ``(x - mean) / std`` per channel.

    Attributes:
        name: ``unit`` (inputs in [0, 1]), ``standard`` (the training images' mean 0 and
            standard deviation 1) or ``symmetric`` (inputs in [-1, 1]).
        mean: Per channel, in units of the [0, 1] pixel.
        std: Per channel, likewise.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise InvalidDataOptionError(
                f"A normalization needs as many means as positive standard deviations, got "
                f"mean={self.mean} and std={self.std}; give one of each per channel."
            )

    @staticmethod
    def make(name: str, mean: Sequence[float], std: Sequence[float]) -> Normalization:
        """The normalization called ``name`` for images with these statistics.

        Args:
            name: One of ``unit``, ``standard``, ``symmetric``.
            mean: Per channel mean of the training images, pixels in [0, 1].
            std: Per channel standard deviation, likewise.

        Raises:
            InvalidDataOptionError: If there is no such normalization.
        """
        check_name(name)
        channels = len(mean)
        if name == "unit":
            return Normalization(name, (0.0,) * channels, (1.0,) * channels)
        if name == "symmetric":
            return Normalization(name, (0.5,) * channels, (0.5,) * channels)
        return Normalization(name, tuple(mean), tuple(std))

    def apply(self, x: Tensor) -> Tensor:
        """Turn pixels in [0, 1], ``(..., C, H, W)``, into network inputs."""
        if self.name == "unit":
            return x
        return (x - self._column(self.mean, x)) / self._column(self.std, x)

    def invert(self, x: Tensor) -> Tensor:
        """Turn network inputs, ``(..., C, H, W)``, back into pixels in [0, 1]."""
        if self.name == "unit":
            return x
        return x * self._column(self.std, x) + self._column(self.mean, x)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def check_name(name: str) -> None:
    """Refuse a normalization that does not exist."""
    if name not in NORMALIZATIONS:
        raise InvalidDataOptionError(
            f"There is no normalization '{name}'; choose one of {', '.join(NORMALIZATIONS)}."
        )


def pixel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, pixels scaled to [0, 1].

    Exact up to float64 round-off: made from the counts of the 256 grey levels.

    Args:
        images: ``(N, C, H, W)`` uint8, at least one image.

    Returns:
        Means and standard deviations, one of each per channel.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for start in range(0, len(images), 4096):
            block = images[start : start + 4096, channel]
            counts += torch.bincount(block.flatten(), minlength=256)
        share = counts / counts.sum()
        mean = (share * levels).sum()
        means.append(mean.item())
        stds.append((share * (levels - mean) ** 2).sum().sqrt().item())
    return tuple(means), tuple(stds)
