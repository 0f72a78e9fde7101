"""Cosine similarity convergence: does what is handed down forget where it came from?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from scipy.stats import beta  # type: ignore[import-untyped]
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count

# A method's `descend`, as `biasmatters.types.Descends` has it.
Descend = Callable[[Tensor, str, Callable[[Tensor], Tensor], Sequence[str]], Mapping[str, Tensor]]

PERCENTS = (0.0, 1.0, 5.0, 10.0, 20.0, 50.0, 80.0, 95.0, 99.0, 100.0)
_PICTURES, _VALUES = 16, 2**18


@dataclass(frozen=True)
class LayerConvergence:
    """How parallel the signals of different draws are at one layer.

    Attributes:
        gaps: ``(N, K)`` float32 ``1 - |cos|`` for each picture's pairs of draws and positions; NaN
            where a vector was 0, infinite where one was not finite.
        channels: Length of the vectors.
        floor: The gap that rounding leaves between parallel vectors of the signals' own number
            format; gaps of that size say no more than that.
    """

    gaps: Tensor
    channels: int
    floor: float

    @property
    def zero(self) -> int:
        """How many pairs were dropped because one of the two was 0."""
        return int(self.gaps.isnan().sum())

    @property
    def not_finite(self) -> int:
        """How many pairs were dropped because one of the two was not finite."""
        return int(self.gaps.isinf().sum())

    @property
    def gap(self) -> float:
        """``1 - median |cos|``, without cancellation; NaN where every pair was dropped."""
        return float(self.percentile_gaps((50,)))

    @property
    def random_gap(self) -> float:
        """The same of Gaussian vectors of that many channels."""
        return 1 - float(random_similarity(self.channels, (50,)))

    def percentile_gaps(self, percents: Sequence[float] = PERCENTS) -> Tensor:
        """``1 - the percentiles of |cos|`` over all pictures, pairs and positions, float64.

        Args:
            percents: Of |cos|, so 100 is the pair that is most parallel.
        """
        values = self.gaps[self.gaps.isfinite()].sort().values.double()
        if not len(values):
            return torch.full((len(percents),), torch.nan, dtype=torch.float64)
        share = 1 - torch.tensor(percents, dtype=torch.float64, device=values.device) / 100
        place = share * (len(values) - 1)
        low, high = values[place.floor().long()], values[place.ceil().long()]
        return torch.lerp(low, high, place.frac())

    def percentiles(self, percents: Sequence[float] = PERCENTS) -> Tensor:
        """The percentiles of |cos|, linear between neighbours, float64."""
        return 1 - self.percentile_gaps(percents)

    def per_image(self) -> Tensor:
        """``(N,)`` each picture's own ``1 - median |cos|``, to be bootstrapped; NaN without any."""
        ordered = self.gaps.sort(1).values.double()  # what is not finite comes last
        count = self.gaps.isfinite().sum(1, keepdim=True)
        middle = torch.cat([count - 1, count], 1).clamp_min(0) // 2
        return ordered.gather(1, middle).mean(1).where(count[:, 0] > 0, torch.nan)


@dataclass(frozen=True)
class Convergence:
    """What became of random signals on their way down.

    Attributes:
        start: The layer at which they set out.
        layers: By name, what they were like there.
    """

    start: str
    layers: dict[str, LayerConvergence]


def csc(
    descend: Descend,
    x: Tensor,
    start: str,
    layers: Sequence[str],
    *,
    draws: int = 5,
    positions: int | None = 1024,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Convergence:
    """Hand random signals down by a method's own rule, and see how parallel they become.

    For each picture v_1 .. v_draws ~ N(0, I) set out at the start layer's output; R_i is what
    arrives of v_i at a lower layer, and for each pair i < j and each position p of the layer

        |cos|_ijp = |<R_i[:, p], R_j[:, p]>| / (||R_i[:, p]|| ||R_j[:, p]||)

    over channels (over all units of a dense layer), pooled over pictures. A median of 1 says that
    the map does not depend on what was to be explained. The gap is

        1 - |cos| = ||R_i/||R_i|| - s R_j/||R_j||||^2 / 2,    s = sign <R_i, R_j>

    in float64, so that it is accurate far below 1e-7; what remains is the rounding of the signals
    themselves, about eps^2/12: 1e-15 in single precision (more after several layers), 4e-33 in
    double. Vectors of one channel are always parallel; compare with `random_gap`.

    Args:
        descend: A method's ``descend``.
        x: ``(N, *features)`` pictures. A picture's draws belong to what it shows and to the seed,
            whatever else is in the batch.
        start: The layer at which the signals set out.
        layers: Layers below, and ``input``.
        draws: Signals for each picture, 2 or more.
        positions: Positions taken at most from each picture and layer, drawn by the seed; None for
            all. 1024 are all of a 32 x 32 layer, and at 10 pairs 40 kB for each picture and layer.
        seed: Of signals and positions.
        chunk_size: Pictures handed down at a time, each ``draws`` times over; None for up to 16.

    Returns:
        The gaps by layer.

    Raises:
        MetricInputError: For inputs, counts or signals that cannot be.

    Source:
        Sixt, Granz, Landgraf: When Explanations Lie, ICML 2020, arXiv 1912.09818, and its code
        (read), which draws five signals anew for each picture and drops NaN.

    Example:
        >>> import torch
        >>> def descend(x, start, signal, layers):
        ...     top = signal(torch.empty(len(x), 8))
        ...     return {"one": top @ torch.ones(8, 4), "all": top}
        >>> found = csc(descend, torch.rand(20, 1, 2, 2), "top", ["one", "all"]).layers
        >>> found["one"].gap < 1e-12, 0.5 < found["all"].gap < 0.9
        (True, True)
    """
    _check(x, layers)
    check_count("draws", draws, 2)
    check_count("positions", 1 if positions is None else positions, 1)
    chunk = max(1, min(_PICTURES, _VALUES // (x[0].numel() * draws)))
    chunk = chunk if chunk_size is None else chunk_size
    check_count("chunk_size", chunk, 1)
    parts: dict[str, list[LayerConvergence]] = {name: [] for name in layers}
    for some in x.detach().split(chunk):  # type: ignore[no-untyped-call]
        keys = [_key(picture, seed) for picture in some]
        tiled = some.repeat_interleave(draws, 0)
        found = descend(tiled, start, partial(_noise, keys, draws), layers)
        for name in layers:
            signals = _signals(found, name, len(tiled))
            each = signals.reshape(len(some), draws, *signals.shape[1:])
            parts[name].append(_layer(each, keys, positions))
    return Convergence(start, {name: joined(some) for name, some in parts.items()})


def joined(parts: Sequence[LayerConvergence]) -> LayerConvergence:
    """One layer of several batches."""
    gaps = torch.cat([part.gaps for part in parts])
    return LayerConvergence(gaps, parts[0].channels, parts[0].floor)


def random_similarity(channels: int, percents: Sequence[float] = PERCENTS) -> Tensor:
    """Percentiles of |cos| between Gaussian vectors: cos^2 ~ Beta(1/2, (channels - 1)/2).

    Args:
        channels: Length of the vectors.
        percents: Which percentiles.

    Example:
        >>> random_similarity(1024, (50,))
        tensor([0.0211], dtype=torch.float64)
    """
    check_count("channels", channels, 1)
    shares = torch.tensor(percents, dtype=torch.float64) / 100
    if channels == 1:
        return torch.ones_like(shares)
    return torch.from_numpy(beta.ppf(shares.numpy(), 0.5, (channels - 1) / 2)).sqrt()


def _check(x: Tensor, layers: Sequence[str]) -> None:
    if x.ndim < 2 or 0 in x.shape or not x.is_floating_point():
        raise MetricInputError(
            f"x has the shape {tuple(x.shape)} and the dtype {x.dtype}; give non-empty pictures "
            "(N, *features) in floating point."
        )
    if not bool(x.isfinite().all()):
        raise MetricInputError("x holds NaN or infinite pixels; repair the input first.")
    if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
        raise MetricInputError(f"layers={layers!r}: give a list of different names.")


def _key(picture: Tensor, seed: int) -> int:
    """A seed made of a seed and of what a picture shows."""
    plain = picture.to("cpu", torch.float64).contiguous()
    digest = hashlib.sha256(plain.numpy().tobytes() + str(seed).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _noise(keys: Sequence[int], draws: int, output: Tensor) -> Tensor:
    """Signals like the tiled output; drawn on the CPU, alike for every device and number format."""
    shape = (draws, *output.shape[1:])
    each = [torch.randn(shape, generator=torch.Generator().manual_seed(key)) for key in keys]
    return torch.cat(each).to(output)


def _signals(found: Mapping[str, Tensor], name: str, rows: int) -> Tensor:
    """What arrived at a layer, if it is one vector or more for each row."""
    if name not in found:
        raise MetricInputError(f"descend gave nothing for the layer '{name}'.")
    signals = found[name].detach()
    if signals.ndim < 2 or len(signals) != rows or not signals[0].numel():
        raise MetricInputError(
            f"descend gave {tuple(signals.shape)} at '{name}' for {rows} pictures; it must give "
            "(n, channels, *positions)."
        )
    return signals


def _layer(signals: Tensor, keys: Sequence[int], positions: int | None) -> LayerConvergence:
    """The gaps of signals ``(n, draws, channels, *positions)``."""
    floor = torch.finfo(signals.dtype).eps ** 2 / 12
    values = signals.flatten(3) if signals.ndim > 3 else signals.unsqueeze(3)
    places = values.shape[3]
    if positions is not None and places > positions:
        chosen = torch.stack([_places(key, places, positions) for key in keys])
        index = chosen.to(values.device)[:, None, None].expand(*values.shape[:3], positions)
        values = values.gather(3, index)
    return LayerConvergence(_gaps(values.double()), values.shape[2], floor)


def _places(key: int, places: int, count: int) -> Tensor:
    return torch.randperm(places, generator=torch.Generator().manual_seed(key + 1))[:count]


def _gaps(values: Tensor) -> Tensor:
    """``1 - |cos|`` of each pair, ``(n, pairs * P)``, from ``(n, draws, channels, P)``."""
    largest = values.abs().amax(2, keepdim=True)  # NaN if there is one
    wild = ~largest[:, :, 0].isfinite()
    unit = values / largest  # NaN of a vector that is 0; and no square is out of range
    unit /= torch.linalg.vector_norm(unit, dim=2, keepdim=True)
    found = []
    for i, j in combinations(range(values.shape[1]), 2):
        a, b = unit[:, i], unit[:, j]
        sign = torch.where(torch.linalg.vecdot(a, b, dim=1) < 0, -1.0, 1.0).to(a)[:, None]
        gap = torch.linalg.vector_norm(torch.addcmul(a, sign, b, value=-1), dim=1).square() / 2
        found.append(gap.masked_fill(wild[:, i] | wild[:, j], torch.inf))
    return torch.cat(found, 1).float()
