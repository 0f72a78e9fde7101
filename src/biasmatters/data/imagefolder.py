"""Pictures of one's own, in one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from biasmatters.data.base import ImageSet, RawData
from biasmatters.data.errors import DataNotFoundError, InvalidDataOptionError
from biasmatters.data.folder import EXTENSIONS, scan_folder
from biasmatters.data.folder_images import read_folder
from biasmatters.data.places import ROOT_VARIABLE, cache_folder, root_folders


@dataclass(frozen=True, kw_only=True)
class ImageFolderData(ImageSet):
    """Pictures under ``{train,val|validation,test}/<class>/``, or only ``<class>/``.

    ``root`` names the folder (the environment variable names a parent with a folder
    ``imagefolder`` in it). Without a test folder the validation folder is the test set; without
    either, ``test_fraction`` of the pictures is, always the same ones. Training images may be
    missing, for networks that are trained already. All pictures are held in memory as bytes.

    Attributes:
        image_size: Height and width in pixels, or one number for both: pictures are scaled to
            cover it and cropped at the centre. None if all pictures are of one size.
        channels: 3, or 1 for grey.
        test_fraction: Share of the pictures to test on where the folder has no split.
        mean: Per channel, for normalization ``standard``; None takes the training images'.
        std: Likewise.
    """

    name = "imagefolder"

    image_size: int | Sequence[int] | None = None
    channels: int = 3
    test_fraction: float = 0.2
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        ImageSet.__post_init__(self)
        for field in ("image_size", "mean", "std"):
            value = getattr(self, field)
            if isinstance(value, Sequence):
                object.__setattr__(self, field, tuple(value))
        if self.channels not in (1, 3):
            raise InvalidDataOptionError(f"channels={self.channels}: give 3, or 1 for grey.")
        if not 0 < self.test_fraction < 1:
            raise InvalidDataOptionError(
                f"test_fraction={self.test_fraction}: give a share between 0 and 1."
            )
        if (self.mean is None) != (self.std is None):
            raise InvalidDataOptionError("Give both mean and std, or neither.")
        self._size()

    def _size(self) -> tuple[int, int] | None:
        sides = self.image_size
        if isinstance(sides, int):
            sides = (sides, sides)
        if sides is None:
            return None
        if len(sides) != 2 or min(sides) < 1:
            raise InvalidDataOptionError(
                f"image_size={self.image_size}: give one number, or height and width."
            )
        return sides[0], sides[1]

    def _read(self) -> RawData:
        tried = []
        for how, root in root_folders(self.root):
            folder = root if how == "root" else root / self.name
            layout = scan_folder(folder, self.test_fraction) if folder.is_dir() else None
            if layout is not None:
                raw = read_folder(layout, cache_folder(self.cache), self._size(), self.channels)
                if self.mean is None or self.std is None:
                    return raw
                return replace(raw, statistics=(tuple(self.mean), tuple(self.std)))
            problem = "no pictures in class folders" if folder.is_dir() else "no such folder"
            tried.append(f"{folder} (from {how}): {problem}")
        raise DataNotFoundError(
            self.name,
            tried or [f"neither root nor the environment variable {ROOT_VARIABLE} is given"],
            "name a folder with root=FOLDER that holds train/<class>/ and test/<class>/, or only "
            f"<class>/, with pictures ({', '.join(sorted(EXTENSIONS))}).",
        )
