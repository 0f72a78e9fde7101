"""A network of the zoo that weighs nothing, and pictures made up for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from biasmatters.models import zoo

CATEGORIES = (
    "tabby", "tiger cat", "Persian cat", "crane", "espresso", "cup",
    "rocket", "missile", "crane", "lighthouse", "Egyptian cat", "sock",
)  # fmt: skip
SIDE = 24
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def network(classes: int = len(CATEGORIES)) -> nn.Module:
    """Convolution, batch-norm, ReLU6, convolution, ReLU, pooling, linear; with real biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        norm = nn.BatchNorm2d(6)
        made = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), norm, nn.ReLU6(),
            nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
        )  # fmt: skip
        for parameter in made.parameters():
            nn.init.normal_(parameter, 0, 0.4)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    return made.eval()


def card(name: str = "tiny", categories: tuple[str, ...] = CATEGORIES) -> zoo.Card:
    how = zoo.Preprocessing(27, (SIDE, SIDE), "bilinear", MEAN, STD)
    return zoo.Card(name, how, categories, "made up for a test")


def pretrained(name: str = "tiny", categories: tuple[str, ...] = CATEGORIES) -> zoo.Pretrained:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return zoo.Pretrained(card(name, categories), network(len(categories)), sha256, Path(name))


def as_input(pixels: NDArray[np.uint8]) -> Tensor:
    """``(H, W, 3)`` uint8 as the network takes it, ``(1, 3, H, W)``."""
    colours = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return (colours - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def drawing(seed: int = 0, size: tuple[int, int] = (40, 31)) -> Image.Image:
    """Soft random colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def picture(path: Path, seed: int = 0, mode: str = "RGB", **options: Any) -> Path:
    """A drawing in a file; the options are Pillow's for saving."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing(seed).convert(mode).save(path, **options)
    return path
