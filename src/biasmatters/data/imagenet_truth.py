"""The classes of ILSVRC 2012's validation pictures, where they lie in one folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from biasmatters.data.imagenet_classes import class_index

_SOLUTION: Final = "LOC_val_solution.csv"
_DEVKIT: Final = Path("ILSVRC2012_devkit_t12", "data")
_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"
_META: Final = "meta.mat"


class TruthError(Exception):
    """The classes of the pictures cannot be had; says what to do."""


def flat_labels(root: Path) -> Mapping[str, int]:
    """Labels by name of picture, ``ILSVRC2012_val_00000001``.

    Taken from Kaggle's ``LOC_val_solution.csv``, else from the devkit of ILSVRC 2012.

    Args:
        root: The data set's folder, which has one of them.

    Raises:
        TruthError: If it has neither, or they are damaged.
    """
    solution, devkit = root / _SOLUTION, root / _DEVKIT
    try:
        if solution.is_file():
            return _of_kaggle(solution)
        if (devkit / _TRUTH).is_file() and (devkit / _META).is_file():
            return _of_devkit(devkit)
    except Exception as error:  # readers of damaged files raise anything
        raise TruthError(
            f"the classes of the pictures in val/ cannot be read: {error}; get an intact copy of "
            f"{_SOLUTION} or of the devkit"
        ) from error
    raise TruthError(
        f"val/ has no folder for each class; put Kaggle's {_SOLUTION} beside it, or the unpacked "
        f"devkit with {_DEVKIT / _TRUTH} and {_META}, or sort the pictures into val/<wnid>/"
    )


def _of_kaggle(path: Path) -> Mapping[str, int]:
    """``ImageId,PredictionString`` with the wnid and the corners of a box, for each object."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["ImageId"]: class_index(row["PredictionString"].split()[0]) for row in rows}


def _of_devkit(folder: Path) -> Mapping[str, int]:
    """Line k is the ILSVRC2012_ID of picture k; ``meta.mat`` has the wnid of each id."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    synsets = loadmat(folder / _META, squeeze_me=True)["synsets"]
    wnids = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets}
    lines = (folder / _TRUTH).read_text(encoding="ascii").split()
    return {
        f"ILSVRC2012_val_{place:08}": class_index(wnids[int(line)])
        for place, line in enumerate(lines, start=1)
    }
