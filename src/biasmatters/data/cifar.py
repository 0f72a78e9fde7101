"""CIFAR-10 and CIFAR-100: 60 000 colour pictures, 32 x 32.

Read from the binary archives: those for Python are pickles, which can run code when opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasmatters.data.archive_set import ArchiveSet
from biasmatters.data.cifar100_classes import CIFAR100_CLASSES

_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
)


def _split(parts: Sequence[bytes], label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels of records: label bytes, the last one the class, then 3x32x32 pixels."""
    data = np.concatenate([np.frombuffer(part, dtype=np.uint8) for part in parts])
    records = data.reshape(-1, label_bytes + 3 * 32 * 32)
    images = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return images, records[:, label_bytes - 1].astype(np.int64)


def _arrays(
    train: Sequence[bytes], test: Sequence[bytes], label_bytes: int
) -> dict[str, NDArray[np.generic]]:
    train_images, train_labels = _split(train, label_bytes)
    test_images, test_labels = _split(test, label_bytes)
    return {
        "train_images": train_images,
        "train_labels": train_labels,
        "test_images": test_images,
        "test_labels": test_labels,
    }


@dataclass(frozen=True, kw_only=True)
class CIFAR10(ArchiveSet):
    """CIFAR-10 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

    The sha256 is the one of tensorflow/datasets, ``url_checksums/cifar10.txt``. Mean and std as
    given alike by many public repositories; JPEG copies of the images agree to 0.002.
    """

    name = "cifar10"
    classes = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    statistics = (
        (0.49139968, 0.48215841, 0.44653091),
        (0.24703223, 0.24348513, 0.26158784),
    )
    archive = "cifar-10-binary.tar.gz"
    digest = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    side = 32
    folders = ("cifar10", "cifar-10", "CIFAR10")
    mirrors = _MIRRORS
    members = (
        *(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
    )

    def _decode(self, members: Mapping[str, bytes]) -> Mapping[str, NDArray[np.generic]]:
        parts = [members[name] for name in self.members]
        return _arrays(parts[:-1], parts[-1:], label_bytes=1)


@dataclass(frozen=True, kw_only=True)
class CIFAR100(ArchiveSet):
    """CIFAR-100 with its 100 fine classes (A. Krizhevsky, 2009).

    The sha256 is the one of tensorflow/datasets, ``url_checksums/cifar100.txt``. Mean and std as
    given alike by many public repositories.
    """

    name = "cifar100"
    classes = CIFAR100_CLASSES
    statistics = (
        (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    )
    archive = "cifar-100-binary.tar.gz"
    digest = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
    side = 32
    folders = ("cifar100", "cifar-100", "CIFAR100")
    mirrors = _MIRRORS
    members = ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin")

    def _decode(self, members: Mapping[str, bytes]) -> Mapping[str, NDArray[np.generic]]:
        train, test = (members[name] for name in self.members)
        return _arrays([train], [test], label_bytes=2)
