"""What lies in an image folder: its layout, classes and files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from biasmatters.data.split import subset

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
_TRAIN, _VALIDATION, _TEST = ("train",), ("val", "validation", "valid"), ("test",)


@dataclass(frozen=True)
class Picture:
    """A file of an image folder.

    Attributes:
        path: Relative to the folder, with forward slashes.
        label: Position of its class.
    """

    path: str
    label: int


@dataclass(frozen=True)
class FolderLayout:
    """An image folder's pictures by split, in the order of their paths.

    Attributes:
        root: The folder.
        classes: Names of the class folders, sorted.
        train: May be empty.
        validation: Empty if the folder has none of its own.
        test: Never empty.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    test: tuple[Picture, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them: train, validation, test."""
        return (*self.train, *self.validation, *self.test)


def scan_folder(root: Path, test_fraction: float = 0.2) -> FolderLayout | None:
    """Find the pictures under ``{train,val,test}/<class>/`` or ``<class>/``.

    Without a test folder the validation folder is the test set; without either, a fixed
    ``test_fraction`` of the pictures is.

    Returns:
        The layout, or None if there is no picture.
    """
    splits = {
        names: next((root / n for n in names if (root / n).is_dir()), None)
        for names in (_TRAIN, _VALIDATION, _TEST)
    }
    if any(splits.values()):
        tops = [splits[names] for names in (_TRAIN, _VALIDATION, _TEST)]
    else:
        tops = [root, None, None]
    classes = tuple(sorted({name for top in tops if top for name in class_folders(top)}))
    train, validation, test = (_pictures(root, top, classes) for top in tops)
    if not test:
        validation, test = (), validation
    if not test:
        train, test = _cut(train, test_fraction)
    return FolderLayout(root, classes, train, validation, test) if test else None


def class_folders(top: Path) -> list[str]:
    """Names of the folders in a folder, in no order, hidden ones left out."""
    with os.scandir(top) as entries:
        return [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]


def _pictures(root: Path, top: Path | None, classes: tuple[str, ...]) -> tuple[Picture, ...]:
    """The pictures directly inside the class folders of one split."""
    if top is None:
        return ()
    return tuple(
        Picture(path, label)
        for label, name in enumerate(classes)
        for path in picture_paths(root, top / name)
    )


def picture_paths(root: Path, folder: Path) -> list[str]:
    """Paths, relative to ``root``, of the pictures directly inside a folder, sorted."""
    if not folder.is_dir():
        return []
    prefix = folder.relative_to(root).as_posix()
    with os.scandir(folder) as entries:
        return [f"{prefix}/{name}" for name in sorted(e.name for e in entries if _is_picture(e))]


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in EXTENSIONS and entry.is_file()


def _cut(
    pictures: tuple[Picture, ...], fraction: float
) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """The same ``fraction`` of the pictures every time, at least one, apart from the rest."""
    if not pictures:
        return (), ()
    chosen = set(subset(len(pictures), max(1, round(fraction * len(pictures)))).tolist())
    rest = tuple(p for i, p in enumerate(pictures) if i not in chosen)
    return rest, tuple(pictures[i] for i in sorted(chosen))
