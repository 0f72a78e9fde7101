"""Fixtures of several rooms."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    # Triton reads it when it is loaded: a GPU's kernels are then run on a processor, step by step.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """What is small takes one thread, which others that wait for their turn cannot hold up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
