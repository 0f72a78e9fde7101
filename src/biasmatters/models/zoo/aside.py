"""Make a network so that nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import torch


@contextmanager
def aside() -> Iterator[None]:
    """Print nothing, leave the global random state alone, make float32 tensors on the CPU.

    Warnings still show: standard error is left alone.
    """
    dtype = torch.get_default_dtype()
    with (
        torch.random.fork_rng(devices=[]),
        torch.device("cpu"),
        redirect_stdout(StringIO()),
    ):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
