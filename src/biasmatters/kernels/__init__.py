"""Loops over memory, compiled: what a chain of tensor operations would pass over many times.

They need numba (``pip install 'biasmatters[fast]'``) and tensors that lie in a processor's memory
in torch's own order. Where either is missing, the engine goes by torch's operations alone, on any
device; the results are the same up to round-off. Numba is loaded with the first module of loops
that is asked for, as in ``kernels.bends.carry``: `fit` says whether there is one. Some call torch's
own product of matrices besides (`tiles`, by `blas`).

On a GPU the softmax rules have kernels of their own, `gpu_exponentials`, by Triton, which comes
with torch: `fit_on_gpu` says whether they can be used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from biasmatters.kernels.availability import available, fit, fit_on_gpu, without_kernels

if TYPE_CHECKING:
    from biasmatters.kernels import (
        bends,
        borders,
        branches,
        channels,
        constants,
        cuts,
        dense,
        even,
        exponentials,
        gpu_exponentials,
        patches,
        points,
        pools,
        shares,
        tiles,
        totals,
        window_plan,
        windows,
    )
else:
    # Hidden from mypy, which would take any name for one of these.
    def __getattr__(name: str) -> Any:
        if name in __all__:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "available", "bends", "borders", "branches", "channels", "constants", "cuts", "dense", "even",
    "exponentials", "fit", "fit_on_gpu", "gpu_exponentials", "patches", "points", "pools", "shares",
    "tiles", "totals", "window_plan", "windows", "without_kernels",
]  # fmt: skip
