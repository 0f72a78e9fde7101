"""Maps on disk: tensors of all explained images under their names."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from biasmatters.stages.files import write_bytes

MAPS = "maps.safetensors"


def write_maps(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors whose first dimension is the image."""
    write_bytes(path, save({name: value.contiguous() for name, value in tensors.items()}))


def read_maps(path: Path) -> dict[str, Tensor]:
    """Read what `write_maps` wrote."""
    return load_file(path)


def join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Put chunks one after another."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
