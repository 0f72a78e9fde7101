"""On real data, where there is some."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from biasmatters.data import MNIST, DataNotFoundError, FashionMNIST, ImageFolderData, idx_set
from biasmatters.data.__main__ import main
from biasmatters.data.cifar import CIFAR10
from biasmatters.data.debian import PackageError
from biasmatters.data.images import TensorImages
from biasmatters.data.normalization import pixel_statistics


def all_training_pixels(kind, **options):
    data = kind(validation=0, normalization="standard", **options).load()
    assert isinstance(data.train, TensorImages)
    return data, data.train.pixels


def test_mnist(real_data):
    data, pixels = all_training_pixels(MNIST, root=str(real_data))
    assert pixels.shape == (60000, 1, 28, 28)
    assert len(data.test) == 10000
    mean, std = pixel_statistics(pixels)
    assert data.normalization.mean == pytest.approx(mean, abs=1e-9)
    assert data.normalization.std == pytest.approx(std, abs=1e-9)
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_fashion_mnist(users_cache, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", ())
    monkeypatch.setattr(idx_set, "fetch_package", _no_network)
    try:
        FashionMNIST(cache=users_cache).load()
    except DataNotFoundError as error:
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")
    data, pixels = all_training_pixels(FashionMNIST, cache=users_cache)
    assert pixels.shape == (60000, 1, 28, 28)
    assert len(data.test) == 10000
    mean, std = pixel_statistics(pixels)
    assert data.normalization.mean == pytest.approx(mean, abs=1e-9)
    assert data.normalization.std == pytest.approx(std, abs=1e-9)


def _no_network(package: str, folder: Path) -> list[Path]:
    raise PackageError("not fetched in tests")


def test_mnist_is_not_taken_for_fashion_mnist(real_data, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", ())
    monkeypatch.setattr(FashionMNIST, "package", None)
    with pytest.raises(DataNotFoundError):
        FashionMNIST(root=str(real_data / "mnist" / "MNIST" / "raw")).load()


def test_imagenet_sample(real_data):
    root = real_data / "imagenet_sample"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is not there")
    options = {"root": str(root), "image_size": 64, "test_limit": 40}
    data = ImageFolderData(**options).load()
    start = time.perf_counter()
    again = ImageFolderData(**options).load()
    assert time.perf_counter() - start < 5
    assert len(data.classes) == 500
    assert len(data.test) == 40
    assert data.size == (64, 64)
    assert torch.equal(data.test.pixels, again.test.pixels)


@pytest.mark.parametrize("count", [1000])
def test_cifar10_statistics_are_near_those_of_copies(real_data, count):
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    pictures = sorted((real_data / "cifar10" / "train").glob("*/*.jpg"))
    if not pictures:
        pytest.skip(f"no real data: no pictures in {real_data / 'cifar10'}")
    sample = pictures[:: len(pictures) // count]
    pixels = torch.stack([pil_to_tensor(Image.open(path)) for path in sample])
    mean, std = pixel_statistics(pixels)
    assert mean == pytest.approx(CIFAR10.statistics[0], abs=0.02)
    assert std == pytest.approx(CIFAR10.statistics[1], abs=0.02)


def test_command_checks_the_data_named(real_data, capsys):
    assert main(["mnist", "--root", str(real_data)]) == 0
    assert "60000 training and 10000 test images" in capsys.readouterr().out


def test_command_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ())
    assert main(["mnist"]) == 1
    assert "was not found" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["mnits"])
