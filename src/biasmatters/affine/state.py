"""What a model carries along from call to call: its buffers, which a call must leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


# Named tuples, which are made faster than data classes: there is one for each module and buffer.
class _Buffer(NamedTuple):
    tensor: Tensor
    copies: Tensor  # its values, or those of several buffers laid end to end
    place: tuple[int, torch.Size] | None  # of several, where its own begin, and their shape
    version: int | None

    @property
    def values(self) -> Tensor:
        """What it held."""
        if self.place is None:
            return self.copies
        first, shape = self.place
        return self.copies[first : first + shape.numel()].view(shape)

    @property
    def changed(self) -> bool:
        """Whether it was written to; tensors made in inference mode do not count versions."""
        if self.version is None:
            return not torch.equal(self.tensor, self.values)
        return self.tensor._version != self.version  # noqa: SLF001

    def restore(self) -> None:
        """Write the old values back."""
        with torch.inference_mode(self.version is None), torch.no_grad():
            target, values = self.tensor, self.values
            if target.shape != values.shape:
                target.resize_(values.shape)
            if target.layout == torch.strided and not target.is_nested and 0 in target.stride():
                # Numbers that are shown in many places are written to in one.
                one = tuple(slice(0, 1) if n == 0 else slice(None) for n in target.stride())
                target, values = target[one], values[one]
            target.copy_(values)


def _copies(buffers: Iterable[Tensor]) -> Iterator[_Buffer]:
    """Buffers with copies of their values, those of one format copied together: most are small."""
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in buffers:
        if _is_plain(tensor):
            alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        else:
            version = None if tensor.is_inference() else tensor._version  # noqa: SLF001
            yield _Buffer(tensor, tensor.detach().clone(), None, version)
    for group in alike.values():
        flat = [tensor if tensor.ndim == 1 else tensor.reshape(-1) for tensor in group]
        copies, first = torch.cat(flat).detach(), 0
        for tensor in group:
            shape = tensor.shape
            yield _Buffer(tensor, copies, (first, shape), tensor._version)  # noqa: SLF001
            first += shape.numel()


def _is_plain(tensor: Tensor) -> bool:
    """Whether a buffer is of those that can be laid end to end."""
    plain = type(tensor) in (Tensor, nn.Parameter, nn.Buffer) and tensor.layout == torch.strided
    return plain and not (tensor.is_inference() or tensor.is_quantized or tensor.is_nested)


class _Module(NamedTuple):
    module: nn.Module
    attributes: dict[str, Any]
    buffers: dict[str, Tensor | None]

    def restore(self, changed: set[int]) -> None:
        """Bind buffers as they were, and attributes that may go with a changed buffer."""
        now = self.module._buffers  # noqa: SLF001 - the only way to remove one that was added
        if not now and not self.buffers:
            return
        rebound = list(now) != list(self.buffers) or any(
            now[key] is not value for key, value in self.buffers.items()
        )
        if rebound:
            now.clear()
            now.update(self.buffers)
        if rebound or not changed.isdisjoint(map(id, self.buffers.values())):
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
        self._root: object = None
        self._named: list[tuple[str, nn.Module]] = []
        self._modules: dict[int, _Module] = {}
        self._buffers: dict[int, _Buffer] = {}

    def named(self, model: object) -> list[tuple[str, nn.Module]]:
        """A model's modules by their qualified names; none of a model that is itself no module.

        The last model's are kept, as walking through it takes as long as copying its buffers.
        """
        if self._root is not model:
            self._root = model
            self._named = list(model.named_modules()) if isinstance(model, nn.Module) else []
        return self._named

    def watch(self, root: nn.Module) -> None:
        """Remember a module with all its parts, unless it is known."""
        if id(root) in self._modules:
            return
        modules = [m for _, m in self._named] if root is self._root else list(root.modules())
        found: dict[int, Tensor] = {}
        for module in modules:
            self._remember(module, found)
        self._buffers |= {id(b.tensor): b for b in _copies(found.values())}

    def _remember(self, module: nn.Module, found: dict[int, Tensor]) -> None:
        """Note how a module is, and find buffers that are not known yet."""
        # A scripted module keeps its buffers in C++, where no forward of ours rebinds them.
        if id(module) in self._modules or isinstance(module, torch.jit.ScriptModule):
            return
        buffers = module._buffers.copy()  # noqa: SLF001
        self._modules[id(module)] = _Module(module, vars(module).copy(), buffers)
        for tensor in buffers.values():
            if tensor is not None and id(tensor) not in self._buffers:
                found[id(tensor)] = tensor

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
