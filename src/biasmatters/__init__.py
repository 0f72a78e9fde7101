"""Bias back-propagation: attribute a network's local bias to its input features.

A piecewise linear network is an affine function ``f(x) = w . x + b`` around every input.
Attribution methods look at the gradient w; *Bias Also Matters* (Wang, Zhou, Bilmes, ICML 2019)
attributes b too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

# Where the names above live; loaded when one is asked for, so that a command line answers before
# torch is there.
_ROOMS = ("types", "affine", "rules", "attribution")


def __getattr__(name: str) -> object:
    """A public name from its room, or one of these rooms itself."""
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        for room in _ROOMS:
            module = import_module(f"{__name__}.{room}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
