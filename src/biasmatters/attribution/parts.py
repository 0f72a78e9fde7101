"""Which part of f(x) = w . x + b an adapter's map shares out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from biasmatters.affine.errors import InputError
from biasmatters.affine.walker import Fallback
from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.attribution.input_x_gradient_plus_bias import InputXGradientPlusBias
from biasmatters.rules import Rule

Part = Literal["bias", "both"]


def checked_part(part: Part) -> Part:
    """``bias`` for b alone, ``both`` for the whole output.

    Raises:
        InputError: For anything else.
    """
    if part not in get_args(Part):
        raise InputError(f"Unknown part '{part}'; choose bias, or both for the whole output.")
    return part


def method_for(
    part: Part,
    model: Callable[..., Any],
    rule: str | Rule,
    temperature: float,
    fold: bool,
    fallback: Fallback,
) -> BiasBackprop | InputXGradientPlusBias:
    """The method that shares out a part.

    Args:
        part: As in `checked_part`.
        model: As in `BiasBackprop`, like all that follow.
        rule: Of the bias.
        temperature: Of the softmax rules given by name.
        fold: Whether slopes scale the contributions.
        fallback: For units without any contribution.
    """
    kind = BiasBackprop if checked_part(part) == "bias" else InputXGradientPlusBias
    return kind(model, rule, temperature, fold, fallback)
