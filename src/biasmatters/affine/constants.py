"""The tensors that recorded calls use and that do not depend on the input.

A recorded call is read again after the forward pass. A model that changes one of its constants in
place (a counter, a mask that grows, a position that is halved) must not change what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from biasmatters.affine.call import Function, first_argument, map_tensors, tensors_in
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.node import Node
from biasmatters.affine.ownership import is_torchs
from biasmatters.affine.registry import canonical, is_in_place, takes_inplace


class _Use(NamedTuple):
    tensor: Tensor
    version: int
    node: Node

    @property
    def lost(self) -> bool:
        """Whether the tensor was written to since; torch counts writes for this purpose."""
        return self.tensor._version != self.version  # noqa: SLF001 - torch's documented counter


class _Noted(NamedTuple):
    """The constants of one call, of which it is not yet asked where their memory lies."""

    node: Node
    tensors: list[Tensor]
    versions: list[int]

    @property
    def lost(self) -> bool:
        """Whether one of them was written to since."""
        return self.versions != [tensor._version for tensor in self.tensors]  # noqa: SLF001


class Constants:
    """Keeps the values that the constants of recorded calls had when they were used.

    Args:
        nodes: The tape's own list of records, in which changed constants are replaced.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        # Most models write to nothing: only once one does, constants are sorted by their memory.
        self._noted: list[_Noted] = []
        self._uses: dict[int, list[_Use]] = {}

    def note(self, node: Node, constants: list[Tensor]) -> None:
        """Remember the constants of a call that was just recorded."""
        versions = [tensor._version for tensor in constants]  # noqa: SLF001
        self._noted.append(_Noted(node, constants, versions))

    def keep(self, written: Iterable[Tensor]) -> None:
        """Give earlier records copies of constants that are about to be written to."""
        copies: dict[int, Tensor] = {}
        for tensor in written:
            self._place()
            for use in self._uses.pop(storage(tensor) or 0, ()):
                if id(use.tensor) not in copies:
                    copies[id(use.tensor)] = use.tensor.detach().clone()
        if not copies:
            return

        def swap(tensor: Tensor) -> Tensor:
            return copies.get(id(tensor), tensor)

        for i, node in enumerate(self._nodes):
            call = node.call
            if any(id(t) in copies for t in tensors_in((call.args, call.kwargs))):
                args, kwargs = map_tensors(swap, call.args), map_tensors(swap, call.kwargs)
                self._nodes[i] = replace(node, call=replace(call, args=args, kwargs=kwargs))

    def refuse_lost(self) -> None:
        """Refuse constants that were changed by something that does not say so by its name.

        Raises:
            UnsupportedOperationError: Naming the operation that had used the constant.
        """
        if any(noted.lost for noted in self._noted):
            self._place()
        for uses in self._uses.values():
            for use in uses:
                if use.lost:
                    raise UnsupportedOperationError(
                        use.node.call.name,
                        use.node.call.op,
                        "a constant that it uses is changed in place afterwards, within another "
                        "operation",
                        "Give the operation a copy of the constant, made by .clone().",
                    )

    def clear(self) -> None:
        """Forget every constant."""
        self._noted.clear()
        self._uses.clear()

    def _place(self) -> None:
        """Sort what was noted by where the tensors' memory lies; what has none is not kept."""
        for node, tensors, versions in self._noted:
            for tensor, version in zip(tensors, versions, strict=True):
                place = storage(tensor)
                if place is not None:
                    self._uses.setdefault(place, []).append(_Use(tensor, version, node))
        self._noted.clear()


def storage(tensor: Tensor) -> int | None:
    """Where a tensor's memory begins, which all its views share; None if it has none."""
    if tensor.layout != torch.strided or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr() or None


def written_by(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that a call is going to change, by its name and arguments."""
    targets = tensors_in(kwargs.get("out"))
    rebinds = canonical(function) == "set_data"
    in_place = is_in_place(function) or rebinds or takes_inplace(function, args, kwargs)
    if in_place and is_torchs(function):
        targets += tensors_in(first_argument(args, kwargs))
    return targets
