"""On what, when and by which command the zoo was measured."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "timm", "captum", "zennit", "biasmatters")


def facts(arguments: Sequence[str], threads: int) -> list[tuple[str, str]]:
    """Versions, processor, date and command, by name."""
    return [
        ("versions", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
        ("processor", f"{_processor()}, {threads} of {os.cpu_count()} cores"),
        ("date", datetime.now(UTC).date().isoformat()),
        ("command", f"`{shlex.join(['python', '-m', 'benchmarks.zoo', *arguments])}`"),
    ]


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
