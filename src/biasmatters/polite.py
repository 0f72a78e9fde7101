"""What this program asks of threads and memory, before torch is loaded."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Let idle threads of OpenMP sleep; to be called before torch is loaded.

    By default they spin, which costs nothing on an idle machine and many times the work's own time
    where other programs run beside this one. A choice in ``OMP_WAIT_POLICY`` stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def take_large_pages() -> None:
    """Let torch ask for large pages of memory on Linux; to be called before torch is loaded.

    Tensors of more than 32 MiB are new memory each time they are made, and to get that page by
    page can take longer than what is done with it. A choice in ``THP_MEM_ALLOC_ENABLE`` stands.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
