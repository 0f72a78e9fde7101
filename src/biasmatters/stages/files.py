"""Small files: written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml


def write_bytes(path: Path, content: bytes) -> None:
    """Write through a neighbour and a rename, so that a reader never sees half a file."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_yaml(path: Path, value: Any) -> None:
    """Write plain values as YAML."""
    write_bytes(path, yaml.safe_dump(value, sort_keys=True, allow_unicode=True).encode())


def swap_in(new: Path, place: Path) -> None:
    """Put folder ``new`` at ``place`` by renames; what was there is removed last."""
    old = place.with_name(f".old-{place.name}")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
