"""Which module is running: qualified names without touching the user's model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
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
        named = model.named_modules() if isinstance(model, nn.Module) else ()
        self._names = {id(module): name for name, module in named}
        self._state = state
        self._stack: list[str] = []
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

    def _mine(self, module: nn.Module) -> bool:
        return id(module) in self._names and threading.get_ident() == self._thread

    def _enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() == self._thread and not isinstance(module, torch.jit.ScriptModule):
            refuse_counting(module, self._names.get(id(module), self.current))
            self._state.watch(module)
        if self._mine(module):
            self._stack.append(self._names[id(module)])

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._mine(module) and self._stack:
            self._stack.pop()
