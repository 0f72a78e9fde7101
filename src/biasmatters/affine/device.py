"""Whether a tensor lies apart from the host, which decides what its numbers cost to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# The type of the devices whose memory the host reads as its own.
HOST = "cpu"


def is_apart(x: Tensor) -> bool:
    """Whether reading a number of x waits until its device has done all that was asked of it."""
    return x.device.type != HOST


def read(numbers: Sequence[Tensor]) -> list[Any]:
    """Numbers, each a tensor without axes, by one look at all of them."""
    if not numbers:
        return []
    device = numbers[0].device
    found: list[Any] = torch.stack([number.to(device) for number in numbers]).tolist()
    return found
