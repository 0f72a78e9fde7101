"""The softmax rules of convolutions and dense layers by a GPU's own kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.mixing import Mixing
from biasmatters.rules.journal import Choice, listening, note
from biasmatters.rules.softmax import contributions, live_units

# Rates by which no exponent of a modest network leaves single precision.
LEAST, MOST = 1e-20, 1e20
By = Literal["weak", "strong", "signed"]


def split_on_gpu(
    by: By, temperature: float, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """`Rule.split` for ``alpha ~ 1[e != 0] exp(z / T)``, None where the kernels cannot.

    Every connection is written out, whatever the tolerance.

    Args:
        by: What z is: ``-|e|``, ``|e|`` or e times the sign of the unit's bias.
        temperature: T, in the units of the activations.
        mixing: The linear map M.
        x: Its input.
        tau: Like its output.
        scale: As in `Rule.split`.
    """
    rate = math.log2(math.e) / temperature
    if not isinstance(mixing, ConvMap | DenseMap) or not LEAST <= rate <= MOST:
        return None
    if not kernels.fit_on_gpu(x, tau, mixing.weight) or x.ndim < 2:
        return None
    if isinstance(mixing, ConvMap) and len(mixing.stride) > 2:
        return None
    gpu = kernels.gpu_exponentials
    how, places, outputs = _laid_out(mixing, x, tau)
    if not gpu.takes(how, x.reshape(places), tau.reshape(outputs)):
        return None
    if listening():
        note(Choice("direct", contributions(live_units(mixing, x, None)[0], tau)))
    slopes = None if scale is None else scale.expand_as(tau)
    beta, live = gpu.split(
        gpu.Kind[by.upper()],
        rate,
        how,
        x.reshape(places).contiguous(),
        tau.reshape(outputs).contiguous(),
        None if slopes is None else slopes.reshape(outputs).contiguous(),
    )
    return beta.reshape(x.shape), live.reshape(tau.shape)


def _laid_out(
    mixing: ConvMap | DenseMap, x: Tensor, tau: Tensor
) -> tuple[kernels.gpu_exponentials.Geometry, tuple[int, ...], tuple[int, ...]]:
    """The map over two axes of places, and the shapes of its input and output as it takes them."""
    geometry, weight = kernels.gpu_exponentials.Geometry, mixing.weight.detach()
    if isinstance(mixing, DenseMap):
        units, inputs = weight.shape
        how = geometry(weight.reshape(1, units, inputs, 1, 1), (1, 1), (0, 0), (1, 1))
        return how, (-1, inputs, 1, 1), (-1, units, 1, 1)
    how = geometry(
        weight.reshape(mixing.groups, -1, weight.shape[1], *_two(weight.shape[2:], 1)),
        _two(mixing.stride, 1),
        _two([before for before, _ in mixing.padding], 0),
        _two(mixing.dilation, 1),
    )
    return how, (*x.shape[:2], *_two(x.shape[2:], 1)), (*tau.shape[:2], *_two(tau.shape[2:], 1))


def _two(numbers: Sequence[int], height: int) -> tuple[int, int]:
    """Those of height and width, where an axis alone is a width."""
    *above, width = numbers
    return (above[0] if above else height), width
