"""The direct form for depthwise convolutions, whose windows need not be gathered."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.rules.layer import Layer, Shares


def split_depthwise(mixing: ConvMap, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The split like the exponents, and the tau that `Shares` leaves.

    It is fastest where all that it is given is `channels_last`.

    Args:
        mixing: The convolution, without padding.
        layer: Its exponents, tau and slopes.
    """
    x, tau = layer.exponents.movedim(1, -1), layer.tau.movedim(1, -1)
    gains = None if layer.gains is None else layer.gains.reshape(-1, 1)
    sizes = layer.sizes(mixing.weight.to(x.dtype).flatten(1), gains)
    shape = (-1, *(1,) * (tau.ndim - 1), tau.shape[-1])
    weights = sizes.values.T.reshape(shape)
    windows = [
        (sample, *space, channel)
        for sample, channel, *space in mixing.windows().steps(tuple(layer.tau.shape[2:]))
    ]
    e = x.new_empty(len(windows), *tau.shape)
    for place, weight, some in zip(windows, weights, e, strict=True):
        torch.mul(x[place], weight, out=some)
    if layer.steep is not None:
        e.mul_(layer.steep.movedim(1, -1))
    absent = layer.absent(x)
    if absent is not None:
        for place, some in zip(windows, e, strict=True):
            some.add_(absent[place])
    if sizes.absent is not None:
        e.masked_fill_(sizes.absent.T.reshape(shape), -torch.inf)
    shares = Shares(e, 0, tau, layer, sizes)
    total = torch.zeros_like(x)
    for place, some in zip(windows, e, strict=True):
        total[place].addcmul_(some, shares.each)
    left = None if shares.left is None else shares.left.movedim(-1, 1)
    return total.movedim(-1, 1), left
