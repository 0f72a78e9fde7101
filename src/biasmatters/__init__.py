"""Bias back-propagation: attribute a network's local bias to its input features.

A piecewise linear network is an affine function ``f(x) = w . x + b`` around every input.
Attribution methods look at the gradient w; *Bias Also Matters* (Wang, Zhou, Bilmes, ICML 2019)
attributes b too.
"""

from biasmatters.affine import (
    Call,
    Form,
    InputError,
    SampleAxisError,
    TrainingModeError,
    UnsupportedOperationError,
    local_affine,
    register_op,
)
from biasmatters.attribution import (
    BiasBackprop,
    Gradient,
    InputXGradient,
    InputXGradientPlusBias,
)
from biasmatters.rules import RULES, Rule, make_rule
from biasmatters.types import (
    Attribution,
    Attributor,
    BiasmattersError,
    Certificate,
    Ledger,
    LedgerRow,
    LocalAffine,
)

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "Attribution",
    "Attributor",
    "BiasBackprop",
    "BiasmattersError",
    "Call",
    "Certificate",
    "Form",
    "Gradient",
    "InputError",
    "InputXGradient",
    "InputXGradientPlusBias",
    "Ledger",
    "LedgerRow",
    "LocalAffine",
    "Rule",
    "SampleAxisError",
    "TrainingModeError",
    "UnsupportedOperationError",
    "local_affine",
    "make_rule",
    "register_op",
]
