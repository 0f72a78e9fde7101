"""Fashion-MNIST: 70 000 pictures of clothes in 10 classes, 28 x 28, grey."""

from __future__ import annotations

from dataclasses import dataclass

from biasmatters.data import pinned
from biasmatters.data.idx_set import IdxSet


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(IdxSet):
    """Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747)."""

    name = "fashion_mnist"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    statistics = ((0.2860405969887955,), (0.35302424451492254,))
    digests = pinned.FASHION_MNIST
    siblings = frozenset(pinned.MNIST.values())
    folders = ("fashion_mnist", "fashion-mnist", "FashionMNIST")
    mirrors = (
        "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    package = "dataset-fashion-mnist"
