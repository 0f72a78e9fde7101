"""Peak memory of some work above what was held before it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(work: Callable[[], object], device: str) -> int | None:
    """Run the work and say how many more bytes were held at its peak than before.

    On a processor that is the high-water mark of the process, so the work belongs into a process
    of its own in which the libraries' code has run before; Linux only, None elsewhere. On a GPU it
    is the allocator's peak.

    Args:
        work: Runs in any case.
        device: ``cpu`` or ``cuda``.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - held
    _give_back()
    if not _reset():
        work()
        return None
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _give_back() -> None:
    """Return to the system what the C library holds for later."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> bool:
    """Set the high-water mark to what is held now; False where that cannot be done."""
    if sys.platform != "linux":
        return False
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return 0
