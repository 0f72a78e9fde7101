"""Piecewise-linear activations by name."""

from __future__ import annotations

from typing import Final

from torch import nn

from biasmatters.models.errors import ModelOptionError

ACTIVATIONS: Final = ("relu", "leaky_relu", "prelu", "hardtanh")


def make_activation(name: str) -> nn.Module:
    """A fresh activation module, never in place.

    Args:
        name: ``relu``; ``leaky_relu`` (slope 0.01); ``prelu`` (one learned slope, at first
            0.25); ``hardtanh`` (clipped to [-1, 1]).

    Raises:
        ModelOptionError: If there is no such activation.
    """
    if name == "relu":
        return nn.ReLU()
    if name == "leaky_relu":
        return nn.LeakyReLU(0.01)
    if name == "prelu":
        return nn.PReLU()
    if name == "hardtanh":
        return nn.Hardtanh()
    raise ModelOptionError(
        f"There is no activation '{name}'; choose one of {', '.join(ACTIVATIONS)}."
    )
