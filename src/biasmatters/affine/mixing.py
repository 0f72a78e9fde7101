"""Linear maps that mix inputs, seen connection by connection.

A mixing map gives unit p the value ``sum_q M[p, q] x[q]``. A rule needs three things of it:
the same map with every coefficient raised to a power (the fast form), its transpose, and the list
of connections (the direct form). ``|m|^0`` is read as the indicator of ``m != 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.sealed import sealed


@sealed
class Linear:
    """A linear map and its transpose, as functions of whole tensors.

    What they return may share memory with what they were given, or show one number in many places:
    it is not to be written to.
    """

    forward: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Connections:
    """Every connection of a mixing map, grouped so that units share their gathered inputs.

    Attributes:
        inputs: ``(B, G, K, L)`` gathered inputs: K connections for each of G groups, L places;
            0 where a connection meets padding.
        coefficients: broadcastable to ``(B, G, P, K, L)``: M for the P units of a group.
        units: Brings a tensor shaped like the output to ``(B, G, P, L)``.
        scatter: Transpose of the gathering: ``(B, G, K, L)`` to the input's shape.
    """

    inputs: Tensor
    coefficients: Tensor
    units: Callable[[Tensor], Tensor]
    scatter: Callable[[Tensor], Tensor]


@sealed
class Lost:
    """The tau of units to which nothing contributes, in place of a mask of the others.

    Attributes:
        tau: 0 for all other units; None where there are no such units with bias.
    """

    tau: Tensor | None


class Mixing(Protocol):
    """A linear map with known coefficients."""

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``, in the dtype of ``like``."""
        ...

    def connections(self, x: Tensor) -> Connections:
        """All connections for the direct form; ``x`` is shaped like the map's input."""
        ...


@dataclass(frozen=True)
class Tile:
    """Part of a map: some of its outputs with the inputs that they are made from.

    Attributes:
        mixing: The map between the two.
        inputs: Which part of the laid-out input, slices or all of it.
        outputs: Which part of the output.
    """

    mixing: Mixing
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class Addresses:
    """Where units have their K inputs and coefficients.

    Attributes:
        starts: ``(U,)`` the first input of each unit, in the flat laid-out input.
        steps: ``(K,)`` from there to its other inputs.
        rows: ``(U,)`` of the coefficients.
        coefficients: ``(rows, K)``.
    """

    starts: Tensor
    steps: Tensor
    rows: Tensor
    coefficients: Tensor

    def pieces(self, limit: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some units at a time, about ``limit`` connections for each thread.

        Yields:
            Which units, ``(U', K)`` the places of their inputs, and ``(U', K)`` their coefficients.
        """
        step = max(1, limit * torch.get_num_threads() // max(len(self.steps), 1))
        for some in ranges(len(self.starts), step):
            places = self.starts[some, None] + self.steps
            yield some, places, self.coefficients[self.rows[some]]


@runtime_checkable
class Tileable(Mixing, Protocol):
    """A mixing map whose connections are too many to be gathered all at once."""

    def lay_out(self, x: Tensor) -> Tensor:
        """The input with the zeros between and around its entries."""
        ...

    def take_up(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Transpose of `lay_out`, for an input of a shape."""
        ...

    def tiles(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Tile]:
        """Tiles with about ``limit`` gathered inputs each, that cover every output once."""
        ...

    def addresses(self, shape: Sequence[int], outputs: Sequence[int], units: Tensor) -> Addresses:
        """Where some units have their inputs and coefficients.

        Args:
            shape: Of the laid-out input.
            outputs: Shape of the output.
            units: ``(U,)`` places in the flat output.
        """
        ...


@dataclass(frozen=True)
class Band:
    """A tile that has all the coefficients of a map.

    Attributes:
        mixing: The map, without padding.
        inputs: Which part of the padded input.
        outputs: Which part of the output.
    """

    mixing: Stackable
    inputs: tuple[slice, ...]
    outputs: tuple[slice, ...]


@runtime_checkable
class Stackable(Mixing, Protocol):
    """A mixing map with shared coefficients, which others can take the place of."""

    def padded(self, x: Tensor) -> Tensor:
        """The input as `bands` cut it up."""
        ...

    def cropped(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Transpose of `padded`, for an input of a shape."""
        ...

    def bands(self, x: Tensor, tau: Tensor, limit: int) -> Iterator[Band]:
        """Tiles with all coefficients and about ``limit`` inputs, that cover every output once."""
        ...

    @property
    def weight(self) -> Tensor:
        """The shared coefficients."""
        ...

    @property
    def channel_axis(self) -> int:
        """The axis of the input along which `sizes` scales."""
        ...

    @property
    def unit_axis(self) -> int:
        """The axis of the output along which `sizes` scales."""
        ...

    def multiplications(self, x: Tensor, tau: Tensor) -> int:
        """How many connections the map has for an input and an output."""
        ...

    def sizes(self, units: Tensor, channels: Tensor) -> Tensor:
        """``|weight|`` with each unit's row and each input channel scaled, like ``weight``."""
        ...

    def stack(self, tables: Tensor, like: Tensor) -> Linear:
        """``sum_k M_k x_k`` for coefficients ``(r, *weight.shape)`` in place of the weight.

        Its ``forward`` takes features ``like`` these, ``(B, r, *rest)`` for an input of
        ``(B, *rest)``; its ``transpose`` returns that shape.
        """
        ...


def raise_to(coefficients: Tensor, exponent: int) -> Tensor:
    """``|m|^exponent`` with ``|m|^0`` the indicator of ``m != 0``."""
    if exponent == 0:
        if kernels.fit(coefficients):
            return kernels.shares.present(coefficients)
        # Numbers at once, and no booleans first: see `biasmatters.affine.masks`.
        return torch.ne(coefficients, 0, out=torch.empty_like(coefficients))
    return coefficients.abs() ** exponent if exponent > 1 else coefficients.abs()


def ranges(size: int, step: int) -> list[slice]:
    """About equal ranges no longer than a step, that cover ``size`` together."""
    count = -(-size // step)
    return [slice(i * size // count, (i + 1) * size // count) for i in range(count)]
