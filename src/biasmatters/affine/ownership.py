"""Whose a function is: torch's own are known by name, all others only if they were registered."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

Function = Callable[..., Any]

_HOMES = (torch.Tensor, torch, torch.nn.functional)


@lru_cache(maxsize=2048)
def is_torchs(function: Function) -> bool:
    """Whether a function is torch's own, or one that the tape itself puts in.

    A function of the user's that is called ``relu`` is not: its name says nothing.
    """
    if isinstance(function, (OpOverload, OpOverloadPacket)):
        return qualified(function).startswith("aten.")
    owner = getattr(function, "__objclass__", None)
    descriptor = getattr(function, "__self__", None)
    if getattr(function, "__name__", "") in ("__get__", "__set__"):
        owner = getattr(descriptor, "__objclass__", owner)
    if isinstance(owner, type):
        return issubclass(torch.Tensor, owner)
    home = getattr(function, "__module__", None) or ""
    return home == "torch" or home.startswith(("torch.", "biasmatters.affine."))


def qualified(function: Function) -> str:
    """A function's name with its namespace: ``aten.relu``, ``my_package.ops.relu``."""
    if isinstance(function, OpOverload):
        function = function.overloadpacket
    if isinstance(function, OpOverloadPacket):
        return str(function._qualified_op_name).replace("::", ".")  # noqa: SLF001 - no public one
    home = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or plain_name(function)
    return f"{home}.{name}" if home else name


def plain_name(function: Function) -> str:
    """A function's name without namespace and overload: ``add_`` of ``aten.add_.Tensor``."""
    if isinstance(function, OpOverload):
        function = function.overloadpacket
    return str(getattr(function, "__name__", ""))


def sounds_like_torchs(name: str) -> bool:
    """Whether torch has a function of that name."""
    return any(hasattr(home, name) for home in _HOMES)


def overloads(function: Any) -> tuple[Any, ...]:
    """All objects that a call of this function may reach the tape as.

    Args:
        function: A function, an operator of `torch.ops` (with or without its overload's name), or
            what `torch.library.custom_op` returned.
    """
    packet = getattr(function, "_opoverload", function)
    packet = packet.overloadpacket if isinstance(packet, OpOverload) else packet
    if not isinstance(packet, OpOverloadPacket):
        return (function,)
    names: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    return (function, packet, *(getattr(packet, name) for name in names))
