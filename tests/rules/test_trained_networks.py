"""On trained networks the fast forms give the map of the rule written out, at any temperature."""

from __future__ import annotations

import contextlib
import copy
import io
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor  # type: ignore[import-untyped]

from benchmarks.speed.models import make_subject
from biasmatters import BiasBackprop
from biasmatters.data import DataNotFoundError, FashionMNIST
from biasmatters.models import CNN, CifarVGG
from biasmatters.rules import SoftmaxAbs, SoftmaxNegAbs

STEPS, BATCH, SHOWN = 150, 64, 2
TEMPERATURES = (0.02, 0.1, 0.5, 1.0, 7.0, 50.0)
Trained = tuple[nn.Module, Tensor]


def train(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    """A few passes, enough for most answers to be right, which is checked."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (BATCH,))
            loss = nn.functional.cross_entropy(model.train()(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        right = (model.eval()(x[:512]).argmax(1) == y[:512]).double().mean()
    assert float(right) > 0.3
    return model


def fashion_cnn() -> Trained:
    try:
        data = FashionMNIST(train_limit=6000, test_limit=SHOWN).load()
    except DataNotFoundError as error:
        pytest.skip(f"needs Fashion-MNIST: {error}")
    x, y = (torch.stack(list(part)) for part in zip(*batches(data.train), strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = CNN()
    return train(model, x, y), torch.stack([data.test[i][0] for i in range(SHOWN)])


def batches(data: object) -> list[tuple[Tensor, Tensor]]:
    items = [data[i] for i in range(len(data))]  # type: ignore[arg-type,index]
    return [(item[0], torch.as_tensor(item[1])) for item in items]


def cifar_vgg() -> Trained:
    root = Path(os.environ.get("BIASMATTERS_DATA", "")) / "cifar10"
    if not (root / "train").is_dir():
        pytest.skip("needs CIFAR-10 as pictures under $BIASMATTERS_DATA/cifar10/train/<class>")
    data = torchvision.datasets.ImageFolder(str(root / "train"))
    picks = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:4000].tolist()
    pictures = [data[i] for i in picks]
    x = torch.stack([pil_to_tensor(picture) for picture, _ in pictures]).float().div(255)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = CifarVGG()
    return train(model, x, torch.tensor([label for _, label in pictures])), x[:SHOWN]


def lite() -> Trained:
    with contextlib.redirect_stdout(io.StringIO()):
        subject = make_subject("efficientnet_lite0", SHOWN)
    return subject.model, nn.functional.interpolate(subject.x, 128)


@lru_cache
def trained(make: Callable[[], Trained]) -> Trained:
    return make()


@pytest.mark.slow
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("rule", [SoftmaxNegAbs, SoftmaxAbs])
@pytest.mark.parametrize("make", [fashion_cnn, cifar_vgg, lite])
def test_the_map_is_that_of_the_rule_written_out(
    make: Callable[[], Trained],
    rule: type[SoftmaxNegAbs | SoftmaxAbs],
    temperature: float,
) -> None:
    model, x = trained(make)
    exact = copy.deepcopy(model).double()
    wanted = BiasBackprop(exact, rule(temperature, 0)).attribute(x.double(), 0)
    fine = BiasBackprop(exact, rule(temperature)).attribute(x.double(), 0)
    coarse = BiasBackprop(model, rule(temperature)).attribute(x, 0).double()
    size = float(wanted.norm())
    assert float((fine - wanted).norm()) <= 1e-10 * size
    assert float((coarse - wanted).norm()) <= 1e-5 * size
