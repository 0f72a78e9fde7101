"""Modules of loops are loaded when they are asked for, and numba with the first of them."""

from __future__ import annotations

import subprocess
import sys
from pkgutil import iter_modules

import pytest

from biasmatters import kernels

pytest.importorskip("numba")

# What no other room has to do with, and what needs no numba.
INNER = {"availability", "blas", "gpu_sums", "machine_code", "openmp", "team", "threads"}


def test_every_module_of_loops_can_be_asked_for() -> None:
    modules = {module.name for module in iter_modules(kernels.__path__)} - INNER
    assert modules == set(kernels.__all__) - {"available", "fit", "fit_on_gpu", "without_kernels"}
    for name in modules - {"gpu_exponentials"}:  # that needs Triton
        assert getattr(kernels, name).__name__ == f"biasmatters.kernels.{name}"


def test_what_there_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'bents'"):
        _ = kernels.bents


def test_numba_is_not_loaded_before() -> None:
    lines = [
        "import sys, biasmatters",
        "from biasmatters import kernels",
        "assert 'numba' not in sys.modules",
        "kernels.bends.carry",
        "assert 'numba' in sys.modules",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
