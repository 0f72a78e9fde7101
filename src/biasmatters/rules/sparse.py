"""The direct form for a few units: behind a ReLU most have no bias to hand out."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.masks import count
from biasmatters.affine.mixing import Tileable
from biasmatters.rules.layer import Layer, keep_in_range

# Connections at a time for each thread, and the share of units up to which they are listed.
LISTED = 1 << 17
FEW = 0.2


def few(tau: Tensor) -> bool:
    """Whether so few units have bias that listing them is cheaper than passing over all."""
    return tau.numel() > 0 and count(tau) < FEW * tau.numel()


def split_sparsely(mixing: Tileable, layer: Layer) -> Tensor:
    """The split like the laid-out input, unit by unit.

    Args:
        mixing: The map.
        layer: Its exponents, tau and slopes.
    """
    units = layer.tau.flatten().nonzero().squeeze(1)
    at = mixing.addresses(layer.exponents.shape, layer.tau.shape, units)
    tau = layer.tau.flatten()[units]
    steep = None if layer.steep is None else layer.steep.flatten()[units]
    gains = None if layer.gains is None else layer.gains.expand_as(layer.tau).flatten()[units]
    exponents = layer.exponents.flatten()
    total = torch.zeros_like(exponents)
    for some, places, coefficients in at.pieces(LISTED):
        m = coefficients.to(exponents.dtype)
        m = m if layer.signed else m.abs()
        e = exponents.take(places)
        absent = layer.absent(e)
        e.mul_(m)
        if steep is not None:
            e.mul_(steep[some, None])
        if gains is not None:
            e.mul_(gains[some, None])
        if absent is not None:
            e.add_(absent)
        if bool((m == 0).any()):
            e.masked_fill_(m == 0, -torch.inf)
        keep_in_range(e, 1, layer.rate)
        whole = e.exp2_().sum(1)
        e.mul_((tau[some] / whole).masked_fill_(whole == 0, 0)[:, None])
        total.scatter_add_(0, places.flatten(), e.flatten())
    return total.reshape(layer.exponents.shape)
