"""The softmax rules of depthwise convolutions by a kernel that holds one plane in the cache."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.depthwise import is_depthwise
from biasmatters.affine.masks import passing, unless_empty
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.softmax import contributions, live_units


def split_in_cache(
    sign: int, temperature: float, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> tuple[Tensor, Lost] | None:
    """`Rule.split` for ``alpha ~ 1[e != 0] exp(sign |e| / T)``, None where the kernel cannot.

    Args:
        sign: -1 or +1.
        temperature: T, in the units of the activations.
        mixing: The linear map M.
        x: Its input.
        tau: Like its output.
        scale: As in `Rule.split`; for the kernel one number for each channel.
    """
    if not is_depthwise(mixing) or x.ndim != 4 or x.dtype != torch.float32:
        return None
    if not kernels.fit(x, tau, mixing.weight) or not _by_channel(scale):
        return None
    factors = mixing.weight.detach().abs().squeeze(1).double() * (math.log2(math.e) / temperature)
    if scale is not None:
        factors = factors * scale[0, :, :1, :1].abs()
    if bool(((mixing.weight.squeeze(1) != 0) & (factors < kernels.exponentials.LEAST)).any()):
        return None  # in single precision it would look like no connection at all
    factors = factors.to(x.dtype)
    found = kernels.exponentials.split(
        sign, x, factors, tau, mixing.padding, mixing.dilation, mixing.stride
    )
    if found is None:
        return None
    if listening():
        note(Choice("direct", contributions(live_units(mixing, x, None)[0], tau)))
    beta, some_without = found
    return beta, Lost(_without_inputs(mixing, x, tau) if some_without else None)


def _by_channel(scale: Tensor | None) -> bool:
    """Whether a slope is one number for each channel, and none of them 0."""
    if scale is None:
        return True
    sides = enumerate(zip(scale.shape, scale.stride(), strict=True))
    alike = all(size == 1 or step == 0 for axis, (size, step) in sides if axis != 1)
    return alike and passing(scale) is None


def _without_inputs(conv: ConvMap, x: Tensor, tau: Tensor) -> Tensor | None:
    """The tau of units that no input contributes to."""
    return unless_empty(tau.masked_fill(live_units(conv, x, None)[1] > 0, 0))
