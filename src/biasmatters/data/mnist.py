"""MNIST: 70 000 handwritten digits, 28 x 28, grey."""

from __future__ import annotations

from dataclasses import dataclass

from biasmatters.data import pinned
from biasmatters.data.idx_set import IdxSet


@dataclass(frozen=True, kw_only=True)
class MNIST(IdxSet):
    """MNIST (Y. LeCun, C. Cortes, C. Burges)."""

    name = "mnist"
    classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    statistics = ((0.1306604762738429,), (0.30810780385646264,))
    digests = pinned.MNIST
    siblings = frozenset(pinned.FASHION_MNIST.values())
    folders = ("mnist", "MNIST")
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
