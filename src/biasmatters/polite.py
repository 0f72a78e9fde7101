"""What this program asks of threads and memory, before torch is loaded."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# Rounds that an idle thread of libgomp waits before it sleeps, some microseconds: long enough for
# the next layer of a network, too short to be in another program's way.
ROUNDS = "1000"
# As glibc's malloc.h numbers them.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_HELD = (1 << 31) - 1


def be_polite() -> None:
    """All of it; to be called before torch is loaded."""
    wait_politely()
    take_large_pages()
    keep_memory()


def wait_politely() -> None:
    """Let idle threads of OpenMP sleep; to be called before torch is loaded.

    By default they spin, which costs nothing on an idle machine and many times the work's own time
    where other programs run beside this one. Without any spinning, though, networks of small layers
    take twice as long. A choice in ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` stands.
    """
    if os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE").upper() == "PASSIVE":
        os.environ.setdefault("GOMP_SPINCOUNT", ROUNDS)


def take_large_pages() -> None:
    """Let torch ask for large pages of memory on Linux; to be called before torch is loaded.

    Tensors of more than 32 MiB are new memory each time they are made, and to get that page by
    page can take longer than what is done with it. A choice in ``THP_MEM_ALLOC_ENABLE`` stands.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_memory() -> None:
    """Let glibc keep freed memory for the next tensor, in place of giving it back each time.

    It gives back every block beyond 32 MiB, and what is free at the heap's end: the next tensor
    is made of new pages, each of which the system fills with zeros first. The price is that a
    process keeps the most that it ever needed, up to 2 GiB. Nothing is done without glibc, or where
    ``MALLOC_MMAP_MAX_``, ``MALLOC_TRIM_THRESHOLD_`` or ``GLIBC_TUNABLES`` says what to do.
    """
    chosen = {"MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"} & set(os.environ)
    if chosen or sys.platform != "linux":
        return
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _HELD)
