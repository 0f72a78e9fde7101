"""On what, when and by which command something was measured."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def facts(
    module: str, arguments: Sequence[str], threads: int, packages: Sequence[str]
) -> list[tuple[str, str]]:
    """Versions, processor, date and command, by name.

    Args:
        module: What was run with ``python -m``.
        arguments: Its arguments.
        threads: Of each process.
        packages: Whose versions matter.
    """
    return [
        ("versions", ", ".join(f"{name} {version(name)}" for name in packages)),
        ("processor", f"{processor()}, {threads} of {os.cpu_count()} cores"),
        ("date", datetime.now(UTC).date().isoformat()),
        ("command", f"`{shlex.join(['python', '-m', module, *arguments])}`"),
    ]


def processor() -> str:
    """The processor's name."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
