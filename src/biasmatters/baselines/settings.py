"""Checks of a method's own settings, before any work."""

from __future__ import annotations

import math

from biasmatters.baselines.errors import MethodError


def whole(name: str, value: int, least: int = 1) -> int:
    """A whole number that is not too small.

    Raises:
        MethodError: Naming the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MethodError(f"{name}={value!r}: give a whole number, at least {least}.")
    return value


def between(name: str, value: float, low: float, high: float) -> float:
    """A number within bounds.

    Raises:
        MethodError: Naming the setting.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (math.isfinite(value) and low <= value <= high):
        raise MethodError(f"{name}={value!r}: give a number from {low:g} to {high:g}.")
    return float(value)


def finite(name: str, value: float) -> float:
    """A finite number.

    Raises:
        MethodError: Naming the setting.
    """
    return between(name, value, -1e30, 1e30)
