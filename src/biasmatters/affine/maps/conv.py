"""Convolutions of one to three dimensions, as they are and transposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.mixing import Connections, Linear, raise_to


def windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Gather sliding windows: ``(B, C, *space)`` to ``(B, C, prod(kernel), places)``."""
    space = len(kernel)
    out = x
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        out = out.unfold(2 + axis, (k - 1) * d + 1, s)[..., ::d]
    order = [0, 1, *range(2 + space, 2 + 2 * space), *range(2, 2 + space)]
    batch, channels = x.shape[:2]
    return out.permute(order).reshape(batch, channels, int(torch.tensor(kernel).prod()), -1)


def _by_group(x: Tensor, groups: int) -> Tensor:
    """``(B, r, C, *space)`` to ``(B, r C, *space)`` with the channels of a group together."""
    if groups == 1:
        return x.flatten(1, 2)
    return x.reshape(*x.shape[:2], groups, -1, *x.shape[3:]).transpose(1, 2).flatten(1, 3)


def _by_rank(x: Tensor, rank: int, groups: int) -> Tensor:
    """The way back of `_by_group`."""
    if groups == 1:
        return x.reshape(len(x), rank, -1, *x.shape[2:])
    return x.reshape(len(x), groups, rank, -1, *x.shape[2:]).transpose(1, 2).flatten(2, 3)


@dataclass(frozen=True)
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
        wide = replace(self, weight=tables.transpose(0, 1).flatten(1, 2).contiguous())
        batch, channels, *space = like.shape
        # Only the shape of this one is looked at.
        shaped = tables.new_empty(1).expand(batch, rank * channels, *space)
        run = wide.as_is(shaped)
        return Linear(
            lambda x: run.forward(_by_group(x, groups)),
            lambda tau: _by_rank(run.transpose(tau), rank, groups),
        )

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        if exponent == 0 and bool((self.weight != 0).all()):
            return self._counting(like)
        weight = raise_to(self.weight.to(like.dtype), exponent)
        return replace(self, weight=weight).as_is(like)

    def _counting(self, like: Tensor) -> Linear:
        """Where no weight is 0 all units of a group count alike: one unit stands for them."""
        each = self.weight.shape[0] // self.groups
        ones = like.new_ones(self.groups, *self.weight.shape[1:])
        one = replace(self, weight=ones).as_is(like)
        return Linear(
            lambda x: one.forward(x).repeat_interleave(each, 1),
            lambda tau: one.transpose(
                tau.reshape(len(tau), self.groups, each, *tau.shape[2:]).sum(2)
            ),
        )

    def as_is(self, like: Tensor) -> Linear:
        """The convolution with the coefficients as they are."""
        even = all(before == after for before, after in self.padding)
        pads = tuple(before for before, _ in self.padding) if even else (0,) * len(self.stride)
        uneven = [] if even else [n for pair in reversed(self.padding) for n in pair]
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]

        def forward(x: Tensor) -> Tensor:
            return convolve(
                F.pad(x, uneven), self.weight, None, self.stride, pads, self.dilation, self.groups
            )

        def transpose(tau: Tensor) -> Tensor:
            padded = F.pad(like, uneven)
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
            return F.pad(grad, [-n for n in uneven])

        return Linear(forward, transpose)

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        kernel = tuple(self.weight.shape[2:])
        pads = [n for pair in reversed(self.padding) for n in pair]
        batch, groups = x.shape[0], self.groups

        def gather(values: Tensor) -> Tensor:
            patches = windows(F.pad(values, pads), kernel, self.stride, self.dilation)
            return patches.reshape(values.shape[0], groups, -1, patches.shape[-1])

        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            patches = gather(leaf)

        def scatter(values: Tensor) -> Tensor:
            return torch.autograd.grad(patches, leaf, values, retain_graph=True)[0]

        per_group = self.weight.shape[0] // groups
        return Connections(
            inputs=patches.detach(),
            real=gather(torch.ones_like(x[:1])) != 0,
            coefficients=self.weight.to(x.dtype).reshape(1, groups, per_group, -1, 1),
            units=lambda tau: tau.reshape(batch, groups, per_group, -1),
            scatter=scatter,
        )


@dataclass(frozen=True)
class TransposedConvMap:
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

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        weight = raise_to(self.weight.to(like.dtype), exponent)
        space = len(self.stride)
        spread = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[space - 1]
        gather = (F.conv1d, F.conv2d, F.conv3d)[space - 1]

        def forward(x: Tensor) -> Tensor:
            return spread(
                x,
                weight,
                None,
                self.stride,
                self.padding,
                self.output_padding,
                self.groups,
                self.dilation,
            )

        def transpose(tau: Tensor) -> Tensor:
            out = gather(tau, weight, None, self.stride, self.padding, self.dilation, self.groups)
            # Output padding may hold a further window, that of no input.
            for axis in range(2, like.ndim):
                out = out.narrow(axis, 0, like.shape[axis])
            return out

        return Linear(forward, transpose)

    def connections(self, x: Tensor) -> Connections:
        """As a convolution over the input with zeros put between its entries."""
        stuffed = self._stuff(x)
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
        direct = ConvMap(grouped.flatten(0, 1), ones, pads, self.dilation, self.groups)
        inner = direct.connections(stuffed)
        real = direct.connections(self._stuff(torch.ones_like(x[:1]))).inputs != 0
        steps = self._steps()
        return replace(inner, real=real, scatter=lambda values: inner.scatter(values)[steps])

    def _stuff(self, x: Tensor) -> Tensor:
        shape = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], self.stride, strict=True)]
        stuffed = x.new_zeros(*x.shape[:2], *shape)
        stuffed[self._steps()] = x
        return stuffed

    def _steps(self) -> tuple[slice, ...]:
        return (slice(None), slice(None), *(slice(None, None, s) for s in self.stride))
