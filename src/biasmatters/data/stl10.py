"""STL-10: 13 000 labelled colour pictures of 10 classes, 96 x 96."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasmatters.data.archive_set import ArchiveSet


@dataclass(frozen=True, kw_only=True)
class STL10(ArchiveSet):
    """STL-10's labelled part, 5000 to train and 8000 to test (Coates, Ng, Lee, AISTATS 2011).

    The sha256 is the one of tensorflow/datasets, ``url_checksums/stl10.txt``. Published means and
    standard deviations disagree, so they are computed from the training images when needed.
    """

    name = "stl10"
    classes = (
        "airplane",
        "bird",
        "car",
        "cat",
        "deer",
        "dog",
        "horse",
        "monkey",
        "ship",
        "truck",
    )
    archive = "stl10_binary.tar.gz"
    digest = "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"
    side = 96
    folders = ("stl10", "stl-10", "STL10")
    mirrors = (
        "https://cs.stanford.edu/~acoates/stl10/",
        "http://ai.stanford.edu/~acoates/stl10/",
    )
    members = (
        "stl10_binary/train_X.bin",
        "stl10_binary/train_y.bin",
        "stl10_binary/test_X.bin",
        "stl10_binary/test_y.bin",
    )

    validation: int = 500

    def _decode(self, members: Mapping[str, bytes]) -> Mapping[str, NDArray[np.generic]]:
        """Pixels are stored column by column, labels from 1."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for part in ("train", "test"):
            pixels = np.frombuffer(members[f"stl10_binary/{part}_X.bin"], dtype=np.uint8)
            columns = pixels.reshape(-1, 3, self.side, self.side)
            arrays[f"{part}_images"] = np.ascontiguousarray(columns.transpose(0, 1, 3, 2))
            labels = np.frombuffer(members[f"stl10_binary/{part}_y.bin"], dtype=np.uint8)
            arrays[f"{part}_labels"] = labels.astype(np.int64) - 1
        return arrays
