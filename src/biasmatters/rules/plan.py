"""Which expansion a layer goes by, if one is cheaper than writing its connections out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.device import is_apart
from biasmatters.affine.mixing import Stackable, ranges
from biasmatters.rules.expansion import Expansion, expand, round_up
from biasmatters.rules.levels import levels
from biasmatters.rules.series import CHUNK, Terms

# Of the tolerance, twice what one kernel value may be off, as a part of the mean kernel value
# D / n. Units whose own D / n is below the same part take the direct form.
FINENESS, FINEST = 0.25, 0.01
# Numbers of weights and inputs that D / n is estimated from.
SAMPLE = 256
# The coefficients of an expansion hold no less, times R.
ROUND_OFF = 5e-14
# Beyond it the smallest exp(-z) is not taken for granted, and D is looked at.
MODEST = 3.0
# Nanoseconds on two cores in float32: a connection in the direct form, and if units are picked;
# starting with one unit at one place there, a multiplication in a convolution, one Chebyshev term
# of one input or weight, holding one product of one of them, and what an output takes besides.
DIRECT, PICKED, START, MULTIPLY, TERM, HOLD, OUTPUT = 1.2, 2.4, 30.0, 0.02, 0.5, 4.0, 8.0
# Numbers in the tables of products that are taken together, and on a GPU.
PIECE, ON_GPU = 1 << 21, 1 << 26
# Units that are looked at for how many have bias.
LOOK = 1 << 10


@dataclass(frozen=True)
class Cost:
    """What an expansion's price depends on.

    Attributes:
        rank: Its products.
        terms: Chebyshev terms of an input or weight.
    """

    rank: int
    terms: int

    @staticmethod
    def of(expansion: Expansion) -> Cost:
        """Of an expansion."""
        return Cost(expansion.rank, expansion.inputs.shape[1])


# No expansion is cheaper.
LEAST = Cost(2, 3)


@dataclass(frozen=True)
class Plan:
    """One level of slopes of a layer, brought to the unit square.

    Attributes:
        units: ``|slope|`` of each unit at this level, shaped to be compared with the output.
        everywhere: Whether all units with any slope have it.
        channels: Largest ``|x|`` of each channel, shaped to divide the input.
        pieces: Which products are taken together, so that none of what they need is large.
        tables: For each piece ``(r, *weight.shape)``, the phi of the weights.
        expansion: Of the rule's exponential at this layer's R.
        reach: R itself.
    """

    units: Tensor
    everywhere: bool
    channels: Tensor
    pieces: list[slice]
    tables: list[Tensor]
    expansion: Expansion
    reach: float

    def scaled(self, x: Tensor) -> Tensor:
        """``|x|`` on the unit interval."""
        return x.abs().div_(self.channels)

    def covers(self, slopes: Tensor | None) -> Tensor:
        """Which units have this level's slope."""
        if slopes is None:
            return torch.ones((), dtype=torch.bool, device=self.units.device)
        return slopes.abs() == self.units


def make_plans(
    sign: int,
    temperature: float,
    tolerance: float,
    mixing: Stackable,
    x: Tensor,
    tau: Tensor,
    scale: Tensor | None,
) -> list[Plan]:
    """A plan for each level of slopes; none where the direct form is better or needed.

    Args:
        sign: -1 or +1.
        temperature: T.
        tolerance: Of the sum of the errors of a unit's shares.
        mixing: The map.
        x: Its input.
        tau: Like its output.
        scale: As in `Rule.split`.
    """
    biased = _biased(tau)
    if not _pays(LEAST, mixing, x, tau, biased):
        return []
    axis = mixing.channel_axis % x.ndim
    others = [a for a in range(x.ndim) if a != axis]
    channels = torch.maximum(x.amax(others), -x.amin(others))
    shape = [-1 if a == axis else 1 for a in range(x.ndim)]
    out = [-1 if a == mixing.unit_axis % tau.ndim else 1 for a in range(tau.ndim)]
    divisors = channels.where(channels > 0, 1).reshape(shape)
    plans = []
    found, alone = levels(scale, tau, mixing.unit_axis)
    for units in found:
        sizes = mixing.sizes(units.clamp_min(0) / temperature, channels)
        reach = float(sizes.amax()) if sizes.numel() else 0.0
        fineness = _fineness(sizes, _on_the_unit(x, divisors))
        expansion = choose(sign, reach, tolerance, x.dtype, fineness)
        if expansion is None or not _pays(Cost.of(expansion), mixing, x, tau, biased):
            return []
        pieces = _pieces(expansion.rank, sizes)
        tables = _tables(sizes.div_(expansion.reach), mixing.weight, expansion, pieces)
        level = units.reshape(out)
        plans.append(Plan(level, alone, divisors, pieces, tables, expansion, reach))
    return plans


def _pieces(rank: int, sizes: Tensor) -> list[slice]:
    room = ON_GPU if is_apart(sizes) else PIECE
    return ranges(rank, max(1, room // sizes.numel()))


def _tables(
    sizes: Tensor, weight: Tensor, expansion: Expansion, pieces: list[slice]
) -> list[Tensor]:
    """``(r, *weight.shape)`` of the phi, 0 where a weight is 0, laid out for `Stackable.stack`."""
    each = max(sizes[:1].numel(), 1)
    found = [sizes.new_empty(len(sizes), ks.stop - ks.start, *sizes.shape[1:]) for ks in pieces]
    terms = Terms(expansion.weights.shape[1], sizes)
    prepared = terms.prepared(expansion.weights, sizes)
    for rows in ranges(len(sizes), max(1, CHUNK // each)):
        values, absent = sizes[rows], weight[rows] == 0
        each_row = terms.at(values.reshape(-1)).view(terms.degree, len(values), -1).transpose(0, 1)
        holes = bool(absent.any())
        for ks, out in zip(pieces, found, strict=True):
            coefficients = prepared[ks].expand(len(values), -1, -1)
            torch.bmm(coefficients, each_row, out=out[rows].flatten(2))
            if holes:
                out[rows].masked_fill_(absent.unsqueeze(1), 0)
    return [out.transpose(0, 1) for out in found]


def choose(
    sign: int, reach: float, tolerance: float, dtype: torch.dtype, fineness: float = FINEST
) -> Expansion | None:
    """The expansion for a layer, or None where round-off forbids one.

    For exp(+z) all that is below R loses ``e^R``, so large R is left to the direct form; likewise
    R so large that round-off in the scaled inputs shows.
    """
    eps = torch.finfo(dtype).eps
    if not 0 < reach < torch.inf:
        return None
    if sign > 0 and reach > MODEST * (1 if eps > 1e-10 else 3):
        return None
    if reach > (64 if eps > 1e-10 else 256):
        return None
    step = round_up(reach)
    share = max(math.exp(-step), fineness if sign < 0 else 0.0) / 2
    return expand(sign, step, max(tolerance * share, ROUND_OFF * max(1.0, step)))


def _on_the_unit(x: Tensor, divisors: Tensor) -> Tensor:
    """Some entries of ``|x|``, each over its channel's largest."""
    return _some_of(x, 4 * SAMPLE).abs() / _some_of(divisors.expand_as(x), 4 * SAMPLE)


def _fineness(sizes: Tensor, inputs: Tensor) -> float:
    """By an estimate of D / n; it only decides how many units are left to the direct form."""
    some, values = _sample(sizes), _sample(inputs)
    if not len(some) or not len(values):
        return FINEST
    wanted = FINENESS * float((-some[:, None] * values).exp().mean())
    if not math.isfinite(wanted):
        return FINEST
    return max(4.0 ** math.floor(math.log(max(wanted, FINEST), 4)), FINEST)


def _sample(values: Tensor) -> Tensor:
    """Some of the entries that are not 0."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, len(flat) // SAMPLE)]
    return flat[flat != 0]


def _pays(cost: Cost, mixing: Stackable, x: Tensor, tau: Tensor, biased: float) -> bool:
    """Whether the expansion is the cheaper form for a layer."""
    connections = mixing.multiplications(x, tau)
    each = cost.terms * TERM + cost.rank * HOLD
    prepared = (x.numel() + mixing.weight.numel()) * each
    expanded = connections * 2 * cost.rank * MULTIPLY + prepared + tau.numel() * OUTPUT
    each = min(DIRECT, PICKED * biased)
    return expanded < connections * each + tau.numel() * START * biased


def _biased(tau: Tensor) -> float:
    """About which share of units have bias, of those that are evenly spread over tau."""
    some = _some_of(tau, LOOK)
    return int(some.count_nonzero()) / max(len(some), 1)


def _some_of(values: Tensor, count: int) -> Tensor:
    """About that many entries, evenly spread."""
    if values.is_contiguous():
        return values.view(-1)[:: max(1, values.numel() // count)]
    places = torch.arange(0, values.numel(), max(1, values.numel() // count), device=values.device)
    return values[torch.unravel_index(places, values.shape)]
