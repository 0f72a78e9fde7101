"""ImageNet: the 1000 classes of ILSVRC 2012, as networks for it take their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biasmatters.data.base import ImageSet, RawData
from biasmatters.data.errors import DataNotFoundError, InvalidDataOptionError
from biasmatters.data.imagenet_folder import LayoutError, scan_imagenet
from biasmatters.data.photograph import check_preparation
from biasmatters.data.picture_folder import read_folder
from biasmatters.data.places import ROOT_VARIABLE, cache_folder, root_folders
from biasmatters.data.preparation import CentreCrop
from biasmatters.data.preprocessing import items_of, sides


@dataclass(frozen=True, kw_only=True)
class ImageNetData(ImageSet):
    """ILSVRC 2012 (Russakovsky et al., IJCV 2015), or any part of it sorted into its classes.

    ``root`` names the folder, or a parent with a folder ``imagenet`` in it, as the environment
    variable does; see ``scan_imagenet`` for the layouts. The validation pictures are the test
    set; held out of training are ``validation`` training pictures. A label is the class's place
    among all 1000, though folders be missing.

    Of the test pictures those chosen by ``test_limit`` are decoded and held in memory as bytes
    (50 000 of 224 x 224: 7 GiB). Training pictures are left alone until they are used, so
    evaluating a trained network needs none; use them with a ``train_limit``. Unreadable pictures
    are left out with a warning, and ``ImageData.note`` has the number of those to test on.

    Attributes:
        resize: The shorter side is scaled to so many pixels.
        image_size: Height and width, or one number for both, cut out at the centre of that.
        interpolation: ``bilinear`` or ``bicubic``, with antialiasing.
        mean: Per channel, for normalization ``standard``.
        std: Likewise.
        preprocessing: A trained network's own, any of ``resize``, ``crop``, ``interpolation``,
            ``mean``, ``std``; goes before the options above. Kept as a tuple of pairs.
    """

    name = "imagenet"

    resize: int = 256
    image_size: int | Sequence[int] = 224
    interpolation: str = "bilinear"
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    preprocessing: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None

    def __post_init__(self) -> None:
        ImageSet.__post_init__(self)
        for field in ("image_size", "mean", "std"):
            value = getattr(self, field)
            if isinstance(value, Sequence):
                object.__setattr__(self, field, tuple(value))
        object.__setattr__(self, "preprocessing", items_of(self.preprocessing))
        chosen = self._chosen()
        if len(chosen["mean"]) != 3 or len(chosen["std"]) != 3:
            raise InvalidDataOptionError(
                f"mean={chosen['mean']} and std={chosen['std']}: give three numbers each, for "
                "red, green and blue in [0, 1]."
            )
        prepare = self._preparation()
        check_preparation(prepare.resize, prepare.crop, prepare.interpolation)

    def _chosen(self) -> dict[str, Any]:
        """The options under the names that ``preprocessing`` has for them."""
        options = {
            "resize": self.resize,
            "crop": self.image_size,
            "interpolation": self.interpolation,
            "mean": self.mean,
            "std": self.std,
        }
        return {**options, **dict(self.preprocessing or ())}

    def _preparation(self) -> CentreCrop:
        chosen = self._chosen()
        crop = sides("image_size", chosen["crop"])
        return CentreCrop(chosen["resize"], crop, chosen["interpolation"])

    def _read(self) -> RawData:
        tried = []
        for how, folder in self._folders():
            if not folder.is_dir():
                tried.append(f"{folder} (from {how}): no such folder")
                continue
            try:
                layout = scan_imagenet(folder)
            except LayoutError as error:
                tried.append(f"{folder} (from {how}): {error}")
                continue
            raw = read_folder(layout, cache_folder(self.cache), self._preparation(), deferred=True)
            chosen = self._chosen()
            return replace(raw, statistics=(chosen["mean"], chosen["std"]), note="")
        raise DataNotFoundError(
            self.name,
            tried or [f"neither root nor the environment variable {ROOT_VARIABLE} is given"],
            "it cannot be fetched without an account at image-net.org or Kaggle; name a folder "
            "with root=FOLDER that holds val/<wnid>/ (and train/<wnid>/), or Kaggle's ILSVRC/ "
            "with LOC_val_solution.csv, or only <wnid>/ of some classes.",
        )

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for how, root in root_folders(self.root):
            if how == "root" and not (root / self.name).is_dir():
                yield how, root
            else:
                yield how, root / self.name
