"""A model of the zoo with the input it is explained at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import timm
import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn

from benchmarks.calibrate import calibrate, tame
from benchmarks.load import count_load

SIZES = (32, 48, 64, 75, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 331, 384)
HUGE = 200_000_000


@dataclass(frozen=True)
class Subject:
    """What the zoo measures.

    Attributes:
        name: As ``library/name``.
        model: In float64 and evaluation mode.
        x: ``(N, 3, size, size)``.
        target: ``(N,)`` the predicted classes.
        parameters: How many numbers the model has learned, or would have.
        connections: Multiplications of one sample's forward pass.
    """

    name: str
    model: nn.Module
    x: Tensor
    target: Tensor
    parameters: int
    connections: int


def make_subject(name: str, seed: int = 0) -> Subject:
    """A model with random, calibrated parameters at the smallest input that it takes.

    Args:
        name: As ``library/name``.
        seed: For parameters and input; the global generator is left as it was.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = _create(name).double().eval()
        parameters = sum(p.numel() for p in model.parameters())
        batch = 1 if parameters > HUGE else 2
        size = smallest_input(model)
        calibrate(model, torch.randn(_samples(size, parameters), 3, size, size).double())
        x = torch.randn(batch, 3, size, size, dtype=torch.float64)
        tame(model, x)
        target = model(x).argmax(1)
        return Subject(name, model, x, target, parameters, count_load(model, x).connections)


def smallest_input(model: nn.Module) -> int:
    """The smallest of `SIZES` at which a forward pass works.

    Raises:
        RuntimeError: If there is none.
    """
    reason = ""
    for size in SIZES:
        try:
            out = model(torch.randn(1, 3, size, size, dtype=torch.float64))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        if bool(torch.isfinite(out).all()):
            return size
        reason = "the output is not finite"
    raise RuntimeError(f"no input size works; the last said {reason}")


def _create(name: str) -> nn.Module:
    library, _, short = name.partition("/")
    if library == "timm":
        return timm.create_model(short, pretrained=False)
    extra = {"init_weights": False} if short in ("googlenet", "inception_v3") else {}
    made: nn.Module = torchvision.models.get_model(short, weights=None, **extra)
    return made


def _samples(size: int, parameters: int) -> int:
    if parameters > HUGE:
        return 2 if size > 100 else 8
    return 4 if size > 100 else 16
