"""Transposed convolutions of one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.maps.by_samples import BySamples
from biasmatters.affine.maps.conv import ConvMap, by_group, by_rank
from biasmatters.affine.mixing import Addresses, Connections, Linear, Tile, raise_to
from biasmatters.affine.sealed import sealed


@sealed
class TransposedConvMap(BySamples):
    """A transposed convolution without its bias.

    Attributes:
        weight: ``(in, out / groups, *kernel)``.
        stride, padding, output_padding, dilation: One number for each spatial axis.
        groups: Channel groups.
    """

    weight: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    channel_axis: ClassVar[int] = 1
    unit_axis: ClassVar[int] = 1

    def multiplications(self, x: Tensor, tau: Tensor) -> int:
        """Connections of the map."""
        return x.numel() * self.weight[:1].numel()

    def sizes(self, units: Tensor, channels: Tensor) -> Tensor:
        """``|weight|`` with output and input channels scaled."""
        grouped = self.weight.to(units.dtype).abs().reshape(self.groups, -1, *self.weight.shape[1:])
        tail = (1,) * (self.weight.ndim - 2)
        return (
            grouped
            * units.reshape(self.groups, 1, -1, *tail)
            * channels.reshape(self.groups, -1, 1, *tail)
        ).flatten(0, 1)

    def stack(self, tables: Tensor, like: Tensor) -> Linear:
        """One transposed convolution with r times the input channels."""
        rank, groups = len(tables), self.groups
        grouped = tables.reshape(rank, groups, -1, *self.weight.shape[1:])
        run = replace(self, weight=grouped.transpose(0, 1).flatten(0, 2)).as_is(like[:, 0])
        return Linear(
            lambda x: run.forward(by_group(x, groups)),
            lambda tau: by_rank(run.transpose(tau), rank, groups),
        )

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        return replace(self, weight=raise_to(self.weight.to(like.dtype), exponent)).as_is(like)

    def as_is(self, like: Tensor) -> Linear:
        """The transposed convolution with the coefficients as they are."""
        space = len(self.stride)
        spread = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[space - 1]
        gather = (F.conv1d, F.conv2d, F.conv3d)[space - 1]
        weight, stride, padding, dilation = self.weight, self.stride, self.padding, self.dilation

        def forward(x: Tensor) -> Tensor:
            extra = self.output_padding
            return spread(x, weight, None, stride, padding, extra, self.groups, dilation)

        def transpose(tau: Tensor) -> Tensor:
            out = gather(tau, weight, None, stride, padding, dilation, self.groups)
            # Output padding may hold a further window, that of no input.
            for axis in range(2, like.ndim):
                out = out.narrow(axis, 0, like.shape[axis])
            return out

        return Linear(forward, transpose)

    def connections(self, x: Tensor) -> Connections:
        """As a convolution over the input with zeros put between its entries."""
        inner = self._gathering().connections(self._stuff(x))
        steps = self._steps()
        return replace(inner, scatter=lambda values: inner.scatter(values)[steps])

    def lay_out(self, x: Tensor) -> Tensor:
        """The input with zeros between its entries and around them."""
        return self._gathering().lay_out(self._stuff(x))

    def take_up(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The entries of the input."""
        return self._gathering().take_up(values, ())[self._steps()]

    def tiles(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Tile]:
        """Those of the convolution over the laid-out input."""
        return self._gathering().tiles(x, tau, limit)

    def addresses(self, shape: Sequence[int], outputs: Sequence[int], units: Tensor) -> Addresses:
        """Those of the convolution over the laid-out input."""
        return self._gathering().addresses(shape, outputs, units)

    def _gathering(self) -> ConvMap:
        """The convolution over the input with zeros between its entries."""
        kernel = self.weight.shape[2:]
        weight = self.weight.flip(list(range(2, self.weight.ndim)))
        grouped = weight.reshape(self.groups, -1, *weight.shape[1:]).transpose(1, 2)
        pads = tuple(
            ((k - 1) * d - p, (k - 1) * d - p + extra)
            for k, d, p, extra in zip(
                kernel, self.dilation, self.padding, self.output_padding, strict=True
            )
        )
        ones = (1,) * len(kernel)
        return ConvMap(grouped.flatten(0, 1), ones, pads, self.dilation, self.groups)

    def _stuff(self, x: Tensor) -> Tensor:
        shape = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], self.stride, strict=True)]
        stuffed = x.new_zeros(*x.shape[:2], *shape)
        stuffed[self._steps()] = x
        return stuffed

    def _steps(self) -> tuple[slice, ...]:
        return (slice(None), slice(None), *(slice(None, None, s) for s in self.stride))
