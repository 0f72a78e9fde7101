"""Handlers: the affine form of each torch function, one file for each family.

Importing this package registers them all.
"""

from biasmatters.affine.ops import (
    activation,
    arithmetic,
    attention,
    conv,
    dense,
    einsum,
    norm,
    pool,
    reduce,
    shape,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "conv",
    "dense",
    "einsum",
    "norm",
    "pool",
    "reduce",
    "shape",
]
