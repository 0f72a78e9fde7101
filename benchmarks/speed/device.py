"""The few things that differ between a processor and a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def settle(device: str) -> None:
    """Wait until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def full_precision() -> None:
    """Products of float32 in float32: no TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def device_name(device: str) -> str:
    """``cpu``, or the GPU's name."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def device_of(x: Tensor) -> str:
    """``cpu`` or ``cuda``."""
    return x.device.type
