"""The direct form for depthwise convolutions, whose windows need not be gathered."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.mixing import Mixing
from biasmatters.rules.layer import Layer, Shares


def is_depthwise(mixing: Mixing) -> TypeGuard[ConvMap]:
    """Whether every unit sees one channel and every channel one unit."""
    return isinstance(mixing, ConvMap) and mixing.weight.shape[:2] == (mixing.groups, 1)


def split_depthwise(mixing: ConvMap, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The split like the exponents, and the tau that `Shares` leaves.

    Args:
        mixing: The convolution, without padding.
        layer: Its exponents, tau and slopes.
    """
    x, tau = layer.exponents, layer.tau
    sizes = mixing.weight.to(x.dtype).flatten(1)
    sizes = sizes if layer.signed else sizes.abs()
    weights = sizes.T.reshape(-1, 1, tau.shape[1], *(1,) * (tau.ndim - 2))
    windows = list(mixing.windows().steps(tuple(tau.shape[2:])))
    e = x.new_empty(len(windows), *tau.shape)
    for place, weight, some in zip(windows, weights, e, strict=True):
        torch.mul(x[place], weight, out=some)
    if layer.steep is not None:
        e.mul_(layer.steep)
    if layer.absent is not None:
        for place, some in zip(windows, e, strict=True):
            some.add_(layer.absent[place])
    if bool((sizes == 0).any()):
        e.masked_fill_(weights == 0, -torch.inf)
    shares = Shares(e, 0, tau, layer, layer.reach(sizes, layer.steep))
    total = torch.zeros_like(x)
    for place, some in zip(windows, e, strict=True):
        total[place].addcmul_(some, shares.each)
    return total, shares.left
