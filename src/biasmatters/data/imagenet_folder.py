"""Where ILSVRC 2012's pictures lie: layouts of its folder, and the class of each picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from biasmatters.data.folder import FolderLayout, Picture, class_folders, picture_paths
from biasmatters.data.imagenet_classes import categories, class_index, wnids
from biasmatters.data.imagenet_truth import TruthError, flat_labels

_KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
_SHOWN = 5
_log = logging.getLogger(__name__)


class LayoutError(Exception):
    """A folder is not laid out as ILSVRC 2012; says why."""


def scan_imagenet(root: Path) -> FolderLayout:
    """The pictures of ILSVRC 2012 by split; those for validation are the test set.

    Layouts: ``{train,val}/<wnid>/``; ``<wnid>/`` alone, any of the classes, to test on; both also
    below Kaggle's ``ILSVRC/Data/CLS-LOC/``; ``val/`` without sub-folders where ``root`` has
    Kaggle's ``LOC_val_solution.csv`` or the devkit. ``train/`` may be missing. A label is the
    class's place among all 1000 wnids, whichever of them have a folder. Folders by other names
    are left out with a warning.

    Raises:
        LayoutError: If there is no picture to test on, or its class cannot be known.
    """
    top = root.joinpath(*_KAGGLE)
    top = top if top.is_dir() else root
    val, train = top / "val", top / "train"
    if val.is_dir():
        test = _by_class(root, val) or _flat(root, val)
    elif train.is_dir():
        raise LayoutError("there is train/ but no val/, whose pictures are the test set")
    else:
        test = _by_class(root, top)
    if not test:
        raise LayoutError(f"no pictures in folders named by wnids{_found_instead(val, top)}")
    training = _by_class(root, train) if train.is_dir() else ()
    return FolderLayout(root, categories(), training, (), test)


def _by_class(root: Path, top: Path) -> tuple[Picture, ...]:
    """Pictures in the class folders of a split, by class and name; none without such folders."""
    names = set(class_folders(top))
    known = sorted(names & set(wnids()))
    if known and len(known) < len(names):
        _log.warning(
            "%s: folders that are none of the 1000 classes of ILSVRC 2012 are left out: %s",
            top,
            _some(names - set(known)),
        )
    return tuple(
        Picture(path, class_index(wnid))
        for wnid in known
        for path in picture_paths(root, top / wnid)
    )


def _flat(root: Path, val: Path) -> tuple[Picture, ...]:
    """Validation pictures as they are published, in one folder."""
    paths = picture_paths(root, val)
    if not paths:
        return ()
    try:
        labels = flat_labels(root)
    except TruthError as error:
        raise LayoutError(str(error)) from error
    names = {path: PurePosixPath(path).stem for path in paths}
    _check_known(labels, set(names.values()))
    return tuple(Picture(path, labels[name]) for path, name in names.items())


def _check_known(labels: Mapping[str, int], names: set[str]) -> None:
    unknown = names - set(labels)
    if unknown:
        raise LayoutError(f"nothing tells the class of pictures in val/: {_some(unknown)}")


def _found_instead(val: Path, top: Path) -> str:
    found = class_folders(val if val.is_dir() else top)
    return f", but folders {_some(set(found))}" if found else ""


def _some(names: set[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
