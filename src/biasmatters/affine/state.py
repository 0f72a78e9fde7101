"""What a model carries along from call to call: its buffers, which a call must leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Buffer:
    tensor: Tensor
    values: Tensor
    version: int | None

    @classmethod
    def of(cls, tensor: Tensor) -> _Buffer:
        """A buffer with a copy of its values."""
        version = None if tensor.is_inference() else tensor._version  # noqa: SLF001
        return cls(tensor, tensor.detach().clone(), version)

    @property
    def changed(self) -> bool:
        """Whether it was written to; tensors made in inference mode do not count versions."""
        if self.version is None:
            return not torch.equal(self.tensor, self.values)
        return self.tensor._version != self.version  # noqa: SLF001

    def restore(self) -> None:
        """Write the old values back."""
        with torch.inference_mode(self.version is None), torch.no_grad():
            if self.tensor.shape != self.values.shape:
                self.tensor.resize_(self.values.shape)
            self.tensor.copy_(self.values)


@dataclass(frozen=True)
class _Module:
    module: nn.Module
    attributes: dict[str, Any]
    buffers: dict[str, Tensor | None]

    def restore(self, changed: set[int]) -> None:
        """Bind buffers as they were, and attributes that may go with a changed buffer."""
        now = self.module._buffers  # noqa: SLF001 - the only way to remove one that was added
        held = {id(b) for b in self.buffers.values() if b is not None}
        rebound = list(now) != list(self.buffers) or any(
            now[key] is not value for key, value in self.buffers.items()
        )
        if rebound:
            now.clear()
            now.update(self.buffers)
        if rebound or held & changed:
            state = vars(self.module)
            for key in [key for key in state if key not in self.attributes]:
                del state[key]
            state.update(self.attributes)


class ModelState:
    """The buffers of modules as they were, to be put back after a forward pass.

    A module that changes a buffer may count its calls in an attribute as well; where a buffer was
    changed, the module's own attributes are bound as they were, too.
    """

    def __init__(self) -> None:
        self._modules: dict[int, _Module] = {}
        self._buffers: dict[int, _Buffer] = {}

    def watch(self, root: nn.Module) -> None:
        """Remember a module with all its parts, unless it is known."""
        if id(root) in self._modules:
            return
        for module in root.modules():
            # A scripted module keeps its buffers in C++, where no forward of ours rebinds them.
            scripted = isinstance(module, torch.jit.ScriptModule)
            if id(module) not in self._modules and not scripted:
                buffers = dict(module._buffers)  # noqa: SLF001
                self._modules[id(module)] = _Module(module, dict(vars(module)), buffers)
                for tensor in buffers.values():
                    if tensor is not None and id(tensor) not in self._buffers:
                        self._buffers[id(tensor)] = _Buffer.of(tensor)

    def changed(self) -> Iterator[Tensor]:
        """The buffers that were written to."""
        return (b.tensor for b in self._buffers.values() if b.changed)

    def restore(self) -> None:
        """Put everything back that was changed."""
        changed = [b for b in self._buffers.values() if b.changed]
        for buffer in changed:
            buffer.restore()
        names = {id(b.tensor) for b in changed}
        for module in self._modules.values():
            module.restore(names)
