"""Dense maps: a weight matrix over the last axis, and batched matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.device import is_apart
from biasmatters.affine.maps.by_samples import BySamples
from biasmatters.affine.masks import all_present, count
from biasmatters.affine.mixing import Addresses, Connections, Linear, Tile, raise_to, ranges
from biasmatters.affine.sealed import sealed
from biasmatters.affine.speculation import look_ahead

# Weights beyond which a second copy of them costs more than working by rows.
LARGE = 1 << 22
# Weights that are worked on together where each of many calls costs more than memory does.
APART = 1 << 24
# Samples up to which a row of weights in cache is better than a product of matrices.
SAMPLES = 8


@sealed
class DenseMap(BySamples):
    """``out[..., p] = sum_q weight[p, q] x[..., q]`` with ``weight`` of shape ``(P, Q)``."""

    weight: Tensor
    channel_axis: ClassVar[int] = -1
    unit_axis: ClassVar[int] = -1

    def multiplications(self, x: Tensor, tau: Tensor) -> int:
        """Connections of the map."""
        return tau.numel() * self.weight.shape[1]

    def sizes(self, units: Tensor, channels: Tensor) -> Tensor:
        """``|weight|`` with rows and columns scaled."""
        return self.weight.to(units.dtype).abs() * units[:, None] * channels

    def stack(self, tables: Tensor, like: Tensor) -> Linear:
        """``sum_k M_k x_k`` for features ``(B, r, ..., Q)``."""
        rank, (units, inputs) = len(tables), self.weight.shape
        wide = tables.transpose(0, 1).reshape(units, rank * inputs)

        def transpose(tau: Tensor) -> Tensor:
            out = tau @ wide
            return out.reshape(*out.shape[:-1], rank, inputs).movedim(-2, 1)

        return Linear(lambda x: x.movedim(1, -2).flatten(-2) @ wide.T, transpose)

    def lay_out(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x

    def take_up(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The values themselves."""
        return values

    def tiles(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Tile]:
        """Units, and samples where they are many."""
        units, inputs = self.weight.shape
        if x.ndim == 1:
            for rows in ranges(units, max(1, limit // max(inputs, 1))):
                yield Tile(DenseMap(self.weight[rows]), (slice(None),), (rows,))
            return
        lead = (slice(None),) * (x.ndim - 2)
        places = max(x.numel() // max(len(x) * inputs, 1), 1)
        samples = max(1, limit // max(inputs * places, 1))
        for some in ranges(len(x), samples):
            for rows in ranges(units, max(1, limit // max(inputs, 1))):
                part = DenseMap(self.weight[rows])
                yield Tile(part, (some,), (some, *lead, rows))

    def addresses(self, shape: Sequence[int], outputs: Sequence[int], units: Tensor) -> Addresses:
        """By the place of a unit's row of inputs."""
        inputs = self.weight.shape[1]
        place = torch.div(units, self.weight.shape[0], rounding_mode="floor")
        steps = torch.arange(inputs, device=units.device)
        return Addresses(place * inputs, steps, units % self.weight.shape[0], self.weight)

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        if exponent == 0:
            return self._counting(like)
        weight = self.weight.to(like.dtype)
        if exponent == 1 and weight.numel() > LARGE:
            return _by_rows(weight)
        weight = raise_to(weight, exponent)
        return Linear(lambda x: x @ weight.T, lambda tau: tau @ weight)

    def by_kernel(self, *tensors: Tensor) -> bool:
        """Whether `biasmatters.kernels.dense` can take the map for an input, and is faster."""
        few = all(t.ndim == 2 and len(t) <= SAMPLES for t in tensors)
        return few and kernels.fit(self.weight.detach(), *tensors)

    @property
    def holes(self) -> tuple[Tensor, Tensor] | None:
        """As `_find_holes` has them; it is looked at once, perhaps together with others."""
        if "_holes" not in vars(self):
            look_ahead()
        return self._holes

    @cached_property
    def _holes(self) -> tuple[Tensor, Tensor] | None:
        return _find_holes(self.weight)

    def note_no_holes(self) -> None:
        """Remember that no weight is 0."""
        vars(self)["_holes"] = _nowhere(self.weight)

    def _counting(self, like: Tensor) -> Linear:
        """Sums over everything, less the few connections whose weight is 0."""
        units, inputs = self.weight.shape
        holes = self.holes
        if holes is None:
            weight = raise_to(self.weight.to(like.dtype), 0)
            return Linear(lambda x: x @ weight.T, lambda tau: tau @ weight)
        rows, columns = holes

        def forward(x: Tensor) -> Tensor:
            total = x.sum(-1, keepdim=True).expand(*x.shape[:-1], units)
            return total.index_add(-1, rows, x[..., columns], alpha=-1) if len(rows) else total

        def transpose(tau: Tensor) -> Tensor:
            total = tau.sum(-1, keepdim=True).expand(*tau.shape[:-1], inputs)
            return total.index_add(-1, columns, tau[..., rows], alpha=-1) if len(rows) else total

        return Linear(forward, transpose)

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        units, inputs = self.weight.shape
        return Connections(
            inputs=x.reshape(-1, 1, inputs, 1),
            coefficients=self.weight.to(x.dtype).reshape(1, 1, units, inputs, 1),
            units=lambda tau: tau.reshape(-1, 1, units, 1),
            scatter=lambda patches: patches.reshape(x.shape),
        )


def _by_rows(weight: Tensor) -> Linear:
    """``|weight|`` without holding it."""

    def forward(x: Tensor) -> Tensor:
        return torch.cat([x @ part.T for _, part in _sizes(weight)], -1)

    def transpose(tau: Tensor) -> Tensor:
        total = tau.new_zeros(*tau.shape[:-1], weight.shape[1])
        for rows, part in _sizes(weight):
            total += tau[..., rows] @ part
        return total

    return Linear(forward, transpose)


def _sizes(weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """``|weight|``, some rows at a time, in memory that is used again."""
    piece = APART if is_apart(weight) else LARGE // 16
    step = max(1, piece // max(weight.shape[1], 1))
    buffer = torch.empty_like(weight[:step])
    for rows in ranges(len(weight), step):
        yield rows, torch.abs(weight[rows], out=buffer[: rows.stop - rows.start])


def _nowhere(weight: Tensor) -> tuple[Tensor, Tensor]:
    """No rows and no columns."""
    return weight.new_empty(0, dtype=torch.long), weight.new_empty(0, dtype=torch.long)


def _by_axis(places: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns."""
    rows, columns = places.unbind(1)
    return rows, columns


def _find_holes(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Rows and columns of the zeros, if there are any; None for more than a thousandth."""
    if is_apart(weight) and all_present(weight):
        return _nowhere(weight)
    if is_apart(weight):
        many = count(weight) < weight.numel() - weight.numel() // 1000
        return None if many else _by_axis((weight == 0).nonzero())
    found = [weight.new_empty(0, 2, dtype=torch.long)]
    most = weight.numel() // 1000
    for rows, part in _sizes(weight):
        if part.numel() and bool(part.amin() == 0):
            places = (part == 0).nonzero()
            places[:, 0] += rows.start
            found.append(places)
            most -= len(places)
            if most < 0:
                return None
    return _by_axis(torch.cat(found))


@sealed
class MatmulMap:
    """``out = matrix @ x`` over the last two axes, leading axes broadcast.

    ``matrix`` is ``(..., P, Q)``, ``x`` is ``(..., Q, R)`` and the output ``(..., P, R)``.
    """

    matrix: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        matrix = raise_to(self.matrix.to(like.dtype), exponent)
        return Linear(
            lambda x: matrix @ x,
            lambda tau: (matrix.mT @ tau).sum_to_size(like.shape),
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        lead = (self.matrix[..., 0, 0] * x[..., 0, 0]).shape
        rows, inner = self.matrix.shape[-2:]
        columns = x.shape[-1]
        wide = x.expand(*lead, inner, columns)
        matrix = self.matrix.to(x.dtype).expand(*lead, rows, inner)
        count = lead.numel()
        return Connections(
            inputs=wide.reshape(count, 1, inner, columns),
            coefficients=matrix.reshape(count, 1, rows, inner, 1),
            units=lambda tau: tau.reshape(count, 1, rows, columns),
            scatter=lambda patches: patches.reshape(wide.shape).sum_to_size(x.shape),
        )


@sealed
class RightMatmulMap:
    """``out = x @ matrix`` over the last two axes, leading axes broadcast.

    ``x`` is ``(..., R, Q)``, ``matrix`` is ``(..., Q, P)`` and the output ``(..., R, P)``: a
    `MatmulMap` of the transposed tensors, for which neither bias nor slopes are transposed.
    """

    matrix: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        matrix = raise_to(self.matrix.to(like.dtype), exponent)
        return Linear(
            lambda x: x @ matrix,
            lambda tau: (tau @ matrix.mT).sum_to_size(like.shape),
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        turned = MatmulMap(self.matrix.mT).connections(x.mT)
        return Connections(
            inputs=turned.inputs,
            coefficients=turned.coefficients,
            units=lambda tau: turned.units(tau.mT),
            scatter=lambda patches: turned.scatter(patches).mT,
        )
