"""Convolutions of one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.device import is_apart
from biasmatters.affine.maps.counting import NO_HOLES, Holes, counting, find_holes
from biasmatters.affine.maps.windows import Windows
from biasmatters.affine.mixing import Addresses, Band, Connections, Linear, Tile, raise_to, ranges
from biasmatters.affine.sealed import sealed
from biasmatters.affine.speculation import look_ahead

if TYPE_CHECKING:
    from biasmatters.kernels.cuts import Cuts

# Input channels up to which the transpose goes by patches.
FEW = 4
# Places from which on, and coefficients up to which, a product of matrices is faster than a
# convolution by points.
LARGE, SMALL = 1 << 9, 1 << 18


def by_group(x: Tensor, groups: int) -> Tensor:
    """``(B, r, C, *space)`` to ``(B, r C, *space)`` with the channels of a group together."""
    if groups == 1:
        return x.flatten(1, 2)
    return x.reshape(*x.shape[:2], groups, -1, *x.shape[3:]).transpose(1, 2).flatten(1, 3)


def by_rank(x: Tensor, rank: int, groups: int) -> Tensor:
    """The way back of `by_group`."""
    if groups == 1:
        return x.reshape(len(x), rank, -1, *x.shape[2:])
    return x.reshape(len(x), groups, rank, -1, *x.shape[2:]).transpose(1, 2).flatten(2, 3)


@lru_cache(maxsize=256)
def _laid_out(padding: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], list[int]]:
    """What a convolution pads itself, and what is to be padded before, which is empty or all."""
    if all(before == after for before, after in padding):
        return tuple(before for before, _ in padding), []
    return (0,) * len(padding), [n for pair in reversed(padding) for n in pair]


def _by_products(weight: Tensor, stride: Sequence[int], like: Tensor) -> Linear:
    """A convolution whose kernel is a point, ``(out, in)``, as a product of matrices."""
    looked_at: tuple[Any, ...] = (..., *(slice(None, None, step) for step in stride))

    def forward(x: Tensor) -> Tensor:
        seen = x[looked_at]
        return (weight @ seen.flatten(2)).reshape(len(x), len(weight), *seen.shape[2:])

    def transpose(tau: Tensor) -> Tensor:
        found = (weight.T @ tau.flatten(2)).reshape(len(tau), weight.shape[1], *tau.shape[2:])
        if found.shape[2:] == like.shape[2:]:
            return found
        whole = found.new_zeros(*found.shape[:2], *like.shape[2:])
        whole[looked_at] = found
        return whole

    return Linear(forward, transpose)


@sealed
class ConvMap:
    """A convolution without its bias.

    Attributes:
        weight: ``(out, in / groups, *kernel)``.
        stride, dilation: One number for each spatial axis.
        padding: ``(before, after)`` zeros for each spatial axis.
        groups: Channel groups.
    """

    weight: Tensor
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    channel_axis: ClassVar[int] = 1
    unit_axis: ClassVar[int] = 1

    @property
    def depthwise(self) -> bool:
        """Whether every unit sees one channel and every channel one unit."""
        return self.weight.shape[:2] == (self.groups, 1)

    def multiplications(self, x: Tensor, tau: Tensor) -> int:
        """Connections of the map."""
        return tau.numel() * self.weight[:1].numel()

    def sizes(self, units: Tensor, channels: Tensor) -> Tensor:
        """``|weight|`` with output and input channels scaled."""
        grouped = self.weight.to(units.dtype).abs().reshape(self.groups, -1, *self.weight.shape[1:])
        tail = (1,) * (self.weight.ndim - 2)
        return (
            grouped
            * units.reshape(self.groups, -1, 1, *tail)
            * channels.reshape(self.groups, 1, -1, *tail)
        ).flatten(0, 1)

    def stack(self, tables: Tensor, like: Tensor) -> Linear:
        """One convolution with r times the input channels, for features ``(B, r, C, *space)``."""
        rank, groups = len(tables), self.groups
        wide = replace(self, weight=tables.transpose(0, 1).flatten(1, 2))
        run = wide.as_is(like.flatten(1, 2))  # only its shape is looked at
        return Linear(
            lambda x: run.forward(by_group(x, groups)),
            lambda tau: by_rank(run.transpose(tau), rank, groups),
        )

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        counted = counting(self, like) if exponent == 0 else None
        if counted is not None:
            return counted
        return self.linear(raise_to(self.weight.to(like.dtype), exponent), self.groups, like)

    @property
    def a_point(self) -> bool:
        """Whether outputs and inputs lie at the same places, one to one."""
        return self._single and max(self.stride) == 1

    @property
    def _single(self) -> bool:
        """Whether every output looks at a single place."""
        return self.weight.shape[2:].numel() == 1 and not any(map(any, self.padding))

    def _suits_patches(self, like: Tensor) -> bool:
        """Whether the transpose is faster by patches, in a format in which sums may be long."""
        exact = self.weight.dtype in (torch.float32, torch.float64)
        return exact and not is_apart(like) and self.groups == 1 and self.weight.shape[1] <= FEW

    def _suits_products(self, like: Tensor) -> bool:
        """Whether a product of matrices is faster than a convolution by points."""
        if max(self.stride) > 1:
            return True
        return math.prod(like.shape[2:]) >= LARGE or self.weight.numel() <= SMALL

    @property
    def holes(self) -> Holes | None:
        """Where the kernel is 0; it is looked at once, perhaps together with others."""
        if "_holes" not in vars(self):
            look_ahead()
        return self._holes

    @cached_property
    def _holes(self) -> Holes | None:
        return find_holes(self.weight, self.groups)

    def note_no_holes(self) -> None:
        """Remember that no coefficient is 0."""
        vars(self)["_holes"] = NO_HOLES

    @cached_property
    def cuts(self) -> Cuts:
        """Where the kernel of a point is 0, as `biasmatters.kernels.points` takes it; likewise."""
        return kernels.cuts.find_cuts(self.weight.detach().flatten(1))

    def linear(self, weight: Tensor, groups: int, like: Tensor) -> Linear:
        """The same convolution with another kernel."""
        return replace(self, weight=weight, groups=groups).as_is(like)

    def as_is(self, like: Tensor) -> Linear:
        """The convolution with the coefficients as they are."""
        if self.groups == 1 and self._single and self._suits_products(like):
            return _by_products(self.weight.flatten(1), self.stride, like)
        pads, uneven = _laid_out(self.padding)
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]

        def forward(x: Tensor) -> Tensor:
            padded = F.pad(x, uneven) if uneven else x
            return convolve(
                padded, self.weight, None, self.stride, pads, self.dilation, self.groups
            )

        if len(pads) == 2 and self._suits_patches(like):
            return Linear(forward, lambda tau: self._by_patches(tau, like))

        def transpose(tau: Tensor) -> Tensor:
            padded = F.pad(like, uneven) if uneven else like
            grad, _, _ = torch.ops.aten.convolution_backward(
                tau,
                padded,
                self.weight,
                None,
                list(self.stride),
                list(pads),
                list(self.dilation),
                False,
                [0] * len(pads),
                self.groups,
                [True, False, False],
            )
            return F.pad(grad, [-n for n in uneven]) if uneven else grad

        return Linear(forward, transpose)

    def _by_patches(self, tau: Tensor, like: Tensor) -> Tensor:
        """The transpose by a product of matrices, and its patches added up.

        With few input channels that takes half the time of torch's own on a processor.
        """
        patches = self.weight.flatten(1).T @ tau.flatten(2)
        if kernels.fit(patches):
            how = (self.weight.shape[2:], self.padding, self.dilation, self.stride)
            return kernels.patches.fold(patches, like, tau.shape[2:], *how)
        (top, bottom), (left, right) = self.padding
        height, width = like.shape[2:]
        even = top == bottom and left == right
        sides = (height, width) if even else (height + top + bottom, width + left + right)
        pads = (top, left) if even else (0, 0)
        kernel = self.weight.shape[2:]
        whole = F.fold(patches, sides, kernel, self.dilation, pads, self.stride)
        return whole if even else self.take_up(whole, like.shape).contiguous()

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        windows = self.windows()
        batch, groups = x.shape[0], self.groups
        per_group = self.weight.shape[0] // groups
        wide = self.lay_out(x)
        return Connections(
            inputs=windows.gather(wide).reshape(batch, groups, -1, windows.places(wide.shape)),
            coefficients=self.weight.to(x.dtype).reshape(1, groups, per_group, -1, 1),
            units=lambda tau: tau.reshape(batch, groups, per_group, -1),
            scatter=lambda values: self.take_up(windows.scatter(values, wide.shape), x.shape),
        )

    def windows(self) -> Windows:
        """Where its windows lie in the laid-out input."""
        return Windows(tuple(self.weight.shape[2:]), self.stride, self.dilation)

    def lay_out(self, x: Tensor) -> Tensor:
        """The input with its padding."""
        return F.pad(x, self._pads()) if any(self._pads()) else x

    def take_up(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What lies inside the padding."""
        return F.pad(values, [-n for n in self._pads()]) if any(self._pads()) else values

    def tiles(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Tile]:
        """Samples, groups and bands of output rows."""
        bare = replace(self, padding=((0, 0),) * len(self.padding))
        kernel, per_group = self.weight.shape[2], self.weight.shape[0] // self.groups
        inner, width = self.weight[0].numel(), math.prod(tau.shape[3:])
        together = self.groups if self.depthwise else 1  # whose channels lie side by side
        rows = max(1, min(tau.shape[2], limit // max(inner * width * together, 1)))
        whole = rows == tau.shape[2]
        groups = limit // max(inner * width * rows, 1) if whole else 1
        groups = max(together, min(self.groups, groups))
        samples = limit // max(inner * width * rows * groups, 1) if groups == self.groups else 1
        reach = (kernel - 1) * self.dilation[0] + 1
        for sample in ranges(len(x), max(samples, 1) if whole else 1):
            for group in ranges(self.groups, groups):
                ins = slice(*(n * self.weight.shape[1] for n in (group.start, group.stop)))
                outs = slice(*(n * per_group for n in (group.start, group.stop)))
                part = replace(bare, weight=self.weight[outs], groups=group.stop - group.start)
                for band in ranges(tau.shape[2], rows):
                    stop = (band.stop - 1) * self.stride[0] + reach
                    above = slice(band.start * self.stride[0], stop)
                    yield Tile(part, (sample, ins, above), (sample, outs, band))

    def padded(self, x: Tensor) -> Tensor:
        """The input with its padding."""
        return self.lay_out(x)

    def cropped(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What lies inside the padding."""
        return self.take_up(values, shape)

    def bands(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Band]:
        """Samples and bands of output rows.

        Where the kernel is a point, inputs between the strides are left out.
        """
        point = all(size == 1 for size in self.weight.shape[2:])
        steps = self.stride if point else (1,) * len(self.stride)
        bare = replace(
            self,
            padding=((0, 0),) * len(self.padding),
            stride=(1,) * len(self.stride) if point else self.stride,
        )
        height = x.shape[2] + sum(self.padding[0])
        row = x[0, :, :1].numel() // math.prod(steps[1:])
        reach = (self.weight.shape[2] - 1) * self.dilation[0] + 1
        rows = (limit // max(row, 1) - reach) // (self.stride[0] // steps[0]) + 1
        rows = max(1, min(tau.shape[2], rows))
        samples = max(1, limit * steps[0] // max(row * height, 1)) if rows == tau.shape[2] else 1
        whole = slice(None)
        across = [slice(0, (n - 1) * s + 1, s) if point else whole
                  for n, s in zip(tau.shape[3:], steps[1:], strict=True)]  # fmt: skip
        for sample in ranges(len(x), samples):
            for band in ranges(tau.shape[2], rows):
                stop = (band.stop - 1) * self.stride[0] + reach
                above = slice(band.start * self.stride[0], stop, steps[0])
                yield Band(bare, (sample, whole, above, *across), (sample, whole, band))

    def addresses(self, shape: Sequence[int], outputs: Sequence[int], units: Tensor) -> Addresses:
        """By the place of a unit's window."""
        sample, unit, *place = torch.unravel_index(units, tuple(outputs))
        channels = self.weight.shape[1]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        group = torch.div(unit, self.weight.shape[0] // self.groups, rounding_mode="floor")
        starts = sample * strides[0] + group * (channels * strides[1])
        steps = torch.arange(channels, device=units.device) * strides[1]
        axes = zip(
            place, strides[2:], self.stride, self.dilation, self.weight.shape[2:], strict=True
        )
        for at, stride, step, spread, size in axes:
            starts = starts + at * (step * stride)
            reach = torch.arange(size, device=units.device) * (spread * stride)
            steps = (steps[:, None] + reach).flatten()
        return Addresses(starts, steps, unit, self.weight.flatten(1))

    def _pads(self) -> list[int]:
        return [n for pair in reversed(self.padding) for n in pair]
