"""Loops over memory, compiled: what a chain of tensor operations would pass over many times.

They need numba (``pip install 'biasmatters[fast]'``) and tensors that lie in a processor's memory
in torch's own order. Where either is missing, the engine goes by torch's operations alone, on any
device; the results are the same up to round-off.
"""

from biasmatters.kernels.availability import available, fit, without_kernels

__all__ = ["available", "fit", "without_kernels"]
