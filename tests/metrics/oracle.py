"""Shapes, a small network that learned them, and maps that are right, random and wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from biasmatters.data import Shapes

SIDE = 24


@dataclass(frozen=True)
class ShapesCase:
    """A trained network and its test pictures.

    Attributes:
        model: In eval mode; it saw pictures with missing pixels while it learned.
        x: ``(64, 1, 24, 24)``.
        target: ``(64,)`` predicted classes.
        masks: ``(64, 24, 24)`` bool, where the shape is.
        oracle: ``(64, 24, 24)`` the mask, with ties broken.
        random: ``(64, 24, 24)`` noise.
        anti: ``(64, 24, 24)`` the ground around the shape, with ties broken.
    """

    model: nn.Module
    x: Tensor
    target: Tensor
    masks: Tensor
    oracle: Tensor
    random: Tensor
    anti: Tensor


@lru_cache(maxsize=1)
def shapes_case() -> ShapesCase:
    """Train once per test process, a few seconds."""
    data = Shapes(
        n_train=1300,
        n_test=64,
        image_size=SIDE,
        channels=1,
        validation=20,
        normalization="standard",
    ).load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _learn(*data.train.batch(torch.arange(len(data.train)))[:2])
    test = data.test.batch(torch.arange(len(data.test)))
    assert data.test.masks is not None
    masks = data.test.masks
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(1))
    oracle = masks.float() + 1e-3 * noise
    with torch.no_grad():
        target = model(test.images).argmax(1)
    return ShapesCase(model, test.images, target, masks, oracle, noise, 1 - oracle)


def _learn(x: Tensor, labels: Tensor) -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * (SIDE // 8) ** 2, 5),
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(8):
        for rows in torch.randperm(len(x)).split(64):
            share = 0.6 * torch.rand(len(rows), 1, 1, 1) * (torch.rand(len(rows), 1, 1, 1) < 0.5)
            seen = x[rows] * (torch.rand(len(rows), 1, SIDE, SIDE) > share)
            optimizer.zero_grad()
            cross_entropy(model(seen), labels[rows]).backward()
            optimizer.step()
    return model.eval()
