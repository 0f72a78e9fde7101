"""The 1000 classes of ILSVRC 2012: their WordNet ids and names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from biasmatters.data.errors import InvalidDataOptionError


@cache
def wnids() -> tuple[str, ...]:
    """The WordNet ids such as ``n01440764``, sorted: a label is a position among them.

    Kept in ``imagenet_wnids.txt``, a copy of timm's ``data/_info/imagenet_synsets.txt``; the
    order is that of the labels of torchvision's and timm's networks.
    """
    listed = files("biasmatters.data").joinpath("imagenet_wnids.txt").read_text(encoding="ascii")
    return tuple(listed.split())


@cache
def categories() -> tuple[str, ...]:
    """Readable names by label, torchvision's; ``crane`` and ``maillot`` are there twice each."""
    from torchvision.models import ResNet18_Weights  # type: ignore[import-untyped]

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


@cache
def _places() -> dict[str, int]:
    return {wnid: place for place, wnid in enumerate(wnids())}


def class_index(wnid: str) -> int:
    """The label of a class, 0 to 999, whether or not a folder has the other classes.

    Raises:
        InvalidDataOptionError: If it is none of the 1000.
    """
    try:
        return _places()[wnid]
    except KeyError:
        raise InvalidDataOptionError(
            f"'{wnid}' is none of the 1000 classes of ILSVRC 2012; give a WordNet id such as "
            "n01440764 (biasmatters.data.imagenet_classes.wnids() lists them)."
        ) from None
