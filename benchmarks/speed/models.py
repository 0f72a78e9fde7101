"""The models that are timed, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
import torchvision  # type: ignore[import-untyped]
from torch import nn

from benchmarks.speed.photographs import photographs
from benchmarks.speed.subject import Subject, random_subject, subject_of
from biasmatters.models import CNN, CifarVGG, zoo

SIDE = 224


def _vision(name: str, batch: int) -> Subject:
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return random_subject(name, model, batch, (3, SIDE, SIDE))


def _lite(batch: int) -> Subject:
    """EfficientNet-Lite0 with its ImageNet weights, on photographs."""
    model = zoo.load("efficientnet_lite0").network
    return subject_of("efficientnet_lite0", model, photographs(batch, SIDE))


def _cifar(batch: int) -> Subject:
    return random_subject("cifar_vgg", CifarVGG(), batch, (3, 32, 32))


def _mnist(batch: int) -> Subject:
    return random_subject("mnist_cnn", CNN(), batch, (1, 28, 28))


MODELS: dict[str, Callable[[int], Subject]] = {
    "vgg11": partial(_vision, "vgg11"),
    "resnet18": partial(_vision, "resnet18"),
    "resnet50": partial(_vision, "resnet50"),
    "mobilenet_v2": partial(_vision, "mobilenet_v2"),
    "efficientnet_lite0": _lite,
    "cifar_vgg": _cifar,
    "mnist_cnn": _mnist,
}


def make_subject(name: str, batch: int, seed: int = 0) -> Subject:
    """A model with a batch; the global generator is left as it was.

    Args:
        name: One of `MODELS`.
        batch: Samples.
        seed: For parameters and input.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        return MODELS[name](batch)
