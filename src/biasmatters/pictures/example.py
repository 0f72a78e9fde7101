"""Photographs that come with scikit-image."""

from __future__ import annotations

from pathlib import Path

from biasmatters.pictures.errors import PictureRequestError

NAMES = ("chelsea.png", "coffee.png", "rocket.jpg")


def example_pictures() -> tuple[Path, ...]:
    """A cat, a cup of coffee and a rocket, as files.

    Raises:
        PictureRequestError: This installation of scikit-image came without them.
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    found = tuple(folder / name for name in NAMES if (folder / name).is_file())
    if not found:
        raise PictureRequestError(
            "scikit-image was installed without its pictures; name a picture of your own, or "
            "install it again with pip."
        )
    return found
