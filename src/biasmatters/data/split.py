"""Which images are held out and which make a subset: a fixed shuffle of the image ids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from biasmatters.data.errors import InvalidDataOptionError


def shuffled_ids(count: int) -> Tensor:
    """The ids 0..count-1 in a fixed order that looks random.

    Sorted by the SplitMix64 hash of the id (Steele, Lea, Flood, OOPSLA 2014), not by a random
    generator, so that the order is the same with every version of every library.
    """
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return torch.from_numpy(np.argsort(z, kind="stable"))


def subset(count: int, limit: int | None) -> Tensor:
    """The ids of a subset of at most ``limit`` images, ascending; a smaller one lies within."""
    return _ascending(shuffled_ids(count)[:limit])


def holdout(count: int, validation: int, limit: int | None) -> tuple[Tensor, Tensor]:
    """Split training images into those trained on and those held out.

    Args:
        count: How many images there are.
        validation: How many of them to hold out; the same ones whatever the limit.
        limit: At most so many of the rest are trained on.

    Returns:
        Ids for training and ids held out, both ascending.

    Raises:
        InvalidDataOptionError: If nothing would be left to train on.
    """
    if validation and validation >= count:
        raise InvalidDataOptionError(
            f"validation={validation} would leave none of the {count} training images; "
            f"hold out fewer than {count}."
        )
    ids = shuffled_ids(count)
    rest = ids[validation:][:limit]
    return _ascending(rest), _ascending(ids[:validation])


def _ascending(ids: Tensor) -> Tensor:
    return ids.sort().values
