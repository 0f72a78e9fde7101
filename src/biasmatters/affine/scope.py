"""Which module is running: qualified names without touching the user's model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    _global_backward_hooks,
    _global_backward_pre_hooks,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from biasmatters.affine.guard import refuse_counting
from biasmatters.affine.state import ModelState


class Scope:
    """The stack of running modules, kept by torch's global hooks while it is open.

    Args:
        model: Whose parts have qualified names.
        state: Is shown every module before it runs, also those that the model does not contain.
    """

    def __init__(self, model: object, state: ModelState) -> None:
        self._names = {id(module): name for name, module in state.named(model)}
        self._state = state
        self._stack: list[str] = []
        # Whether a hook of the model's may have a say in the backward pass.
        self.hooked = bool(_global_backward_hooks or _global_backward_pre_hooks)
        self._thread = threading.get_ident()

    @property
    def current(self) -> str:
        """Qualified name of the innermost running module, empty for the model itself."""
        return self._stack[-1] if self._stack else ""

    @contextmanager
    def open(self) -> Iterator[Scope]:
        """Follow the modules until the block ends, whatever happens in it."""
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, always_call=True)
        try:
            yield self
        finally:
            before.remove()
            after.remove()
            self._stack.clear()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        name = self._names.get(id(module))
        # Those of the model have been watched from the start.
        if (name is None or module.training) and not isinstance(module, torch.jit.ScriptModule):
            refuse_counting(module, self.current if name is None else name)
            self._state.watch(module)
        if module._backward_hooks or module._backward_pre_hooks:  # noqa: SLF001 - no public ones
            self.hooked = True
        if name is not None:
            self._stack.append(name)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._stack and id(module) in self._names and threading.get_ident() == self._thread:
            self._stack.pop()
