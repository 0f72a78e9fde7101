"""The local-affine engine: what a network is around an input, and where its bias comes from."""

from biasmatters.affine import ops as _ops
from biasmatters.affine.call import Call
from biasmatters.affine.errors import (
    InputError,
    SampleAxisError,
    TrainingModeError,
    UnsupportedOperationError,
)
from biasmatters.affine.form import Form
from biasmatters.affine.local import local_affine
from biasmatters.affine.registry import register_op

__all__ = [
    "Call",
    "Form",
    "InputError",
    "SampleAxisError",
    "TrainingModeError",
    "UnsupportedOperationError",
    "local_affine",
    "register_op",
]

del _ops
