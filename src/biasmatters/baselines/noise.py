"""Random numbers that belong to an image, wherever in whichever batch it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def image_seed(seed: int, image: Tensor) -> int:
    """A seed made of a seed and of what an image shows.

    Args:
        seed: Of the whole run.
        image: ``(*features)``.
    """
    plain = image.detach().to("cpu", torch.float64).contiguous()
    digest = hashlib.sha256(plain.numpy().tobytes() + str(seed).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def image_generator(seed: int, image: Tensor) -> torch.Generator:
    """A generator on the CPU for one image."""
    return torch.Generator().manual_seed(image_seed(seed, image))


@contextmanager
def seeded(seed: int, like: Tensor) -> Iterator[None]:
    """Seed the global generators of torch and numpy for a library that has no others.

    They are as before afterwards.

    Args:
        seed: For all of them.
        like: On the device that is computed on; generators of other GPUs are let be.
    """
    gpus = [like.device] if like.device.type == "cuda" else []
    before = np.random.get_state()  # noqa: NPY002 - the library's own choice
    with torch.random.fork_rng(devices=gpus):
        try:
            # torch.manual_seed would ask every kind of accelerator, which takes a millisecond.
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
