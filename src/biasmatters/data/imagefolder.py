"""Pictures of one's own, in one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from biasmatters.data.base import ImageSet, RawData
from biasmatters.data.errors import DataNotFoundError, InvalidDataOptionError
from biasmatters.data.folder import EXTENSIONS, FolderLayout, scan_folder
from biasmatters.data.photograph import check_preparation
from biasmatters.data.picture_folder import read_folder, same_size
from biasmatters.data.places import ROOT_VARIABLE, cache_folder, root_folders
from biasmatters.data.preparation import CentreCrop, Cover, Preparation
from biasmatters.data.preprocessing import items_of, sides


@dataclass(frozen=True, kw_only=True)
class ImageFolderData(ImageSet):
    """Pictures under ``{train,val|validation,test}/<class>/``, or only ``<class>/``.

    ``root`` names the folder (the environment variable names a parent with a folder
    ``imagefolder`` in it). Without a test folder the validation folder is the test set; without
    either, ``test_fraction`` of the pictures is, always the same ones. Training images may be
    missing, for networks that are trained already. The pictures chosen are held in memory as
    bytes; unreadable ones are left out with a warning, and ``ImageData.note`` has their number.

    Attributes:
        image_size: Height and width in pixels, or one number for both: pictures are scaled to
            cover it and cropped at the centre. None if all pictures are of one size.
        channels: 3, or 1 for grey.
        test_fraction: Share of the pictures to test on where the folder has no split.
        mean: Per channel, for normalization ``standard``; None takes those of all training
            images, for which all are decoded.
        std: Likewise.
        preprocessing: A trained network's own: ``resize`` (the shorter side is scaled to it) and
            ``crop`` (then cut out at the centre), and perhaps ``interpolation`` (bilinear),
            ``mean`` and ``std``. Goes before the options above; kept as a tuple of pairs.
    """

    name = "imagefolder"

    image_size: int | Sequence[int] | None = None
    channels: int = 3
    test_fraction: float = 0.2
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    preprocessing: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None

    def __post_init__(self) -> None:
        ImageSet.__post_init__(self)
        for field in ("image_size", "mean", "std"):
            value = getattr(self, field)
            if isinstance(value, Sequence):
                object.__setattr__(self, field, tuple(value))
        object.__setattr__(self, "preprocessing", items_of(self.preprocessing))
        if self.channels not in (1, 3):
            raise InvalidDataOptionError(f"channels={self.channels}: give 3, or 1 for grey.")
        if not 0 < self.test_fraction < 1:
            raise InvalidDataOptionError(
                f"test_fraction={self.test_fraction}: give a share between 0 and 1."
            )
        if (self.mean is None) != (self.std is None):
            raise InvalidDataOptionError("Give both mean and std, or neither.")
        self._preparation()

    def _preparation(self) -> Preparation | None:
        """How pictures are made one size; None if they are said to be of one."""
        if self.preprocessing is not None:
            return self._networks_own(dict(self.preprocessing))
        if self.image_size is not None:
            return Cover(sides("image_size", self.image_size), self.channels)
        return None

    def _networks_own(self, given: Mapping[str, Any]) -> CentreCrop:
        if self.channels != 3 or not {"resize", "crop"} <= set(given):
            raise InvalidDataOptionError(
                "preprocessing needs resize and crop, and pictures of 3 channels; give both and "
                "channels=3, or use image_size."
            )
        if ("mean" in given) != ("std" in given):
            raise InvalidDataOptionError("Give preprocessing both mean and std, or neither.")
        crop = sides("crop", given["crop"])
        interpolation = given.get("interpolation", "bilinear")
        check_preparation(given["resize"], crop, interpolation)
        return CentreCrop(given["resize"], crop, interpolation)

    def _read(self) -> RawData:
        tried = []
        for how, root in root_folders(self.root):
            folder = root if how == "root" else root / self.name
            layout = scan_folder(folder, self.test_fraction) if folder.is_dir() else None
            if layout is not None:
                return self._of(layout)
            problem = "no pictures in class folders" if folder.is_dir() else "no such folder"
            tried.append(f"{folder} (from {how}): {problem}")
        raise DataNotFoundError(
            self.name,
            tried or [f"neither root nor the environment variable {ROOT_VARIABLE} is given"],
            "name a folder with root=FOLDER that holds train/<class>/ and test/<class>/, or only "
            f"<class>/, with pictures ({', '.join(sorted(EXTENSIONS))}).",
        )

    def _of(self, layout: FolderLayout) -> RawData:
        prepare = self._preparation() or same_size(layout, self.channels)
        raw = read_folder(layout, cache_folder(self.cache), prepare)
        given = {"mean": self.mean, "std": self.std, **dict(self.preprocessing or ())}
        if given["mean"] is None:
            return raw
        return replace(raw, statistics=(tuple(given["mean"]), tuple(given["std"])))
