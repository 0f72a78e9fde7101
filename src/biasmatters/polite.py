"""How this program's threads behave towards others."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Let idle threads of OpenMP sleep; to be called before torch is loaded.

    By default they spin, which costs nothing on an idle machine and many times the work's own time
    where other programs run beside this one. A choice in ``OMP_WAIT_POLICY`` stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
