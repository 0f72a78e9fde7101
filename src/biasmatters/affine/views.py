"""Tensors that are changed in place, and the views that must change with them.

The tape runs in-place functions out of place. What the user's code holds is then a *variable*,
whose present *value* is another tensor; a view of a variable is read again from it, and written
back into it, when either is next used. Every such write is a recorded operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from biasmatters.affine.call import Function, first_argument, map_tensors
from biasmatters.affine.ownership import is_torchs, plain_name

Locate = Callable[[Tensor], Tensor]


def write_into_view(base: Tensor, value: Any, locate: Locate) -> Tensor:
    """A copy of ``base`` whose part ``locate(base)`` holds ``value``."""
    out = base.clone()
    locate(out).copy_(value)
    return out


def write_at_index(base: Tensor, value: Any, index: Any) -> Tensor:
    """A copy of ``base`` with ``base[index] = value``."""
    out = base.clone()
    out[index] = value
    return out


def written(op: str, function: Function, args: Any, kwargs: Any) -> tuple[Any, ...] | None:
    """A call that overwrites its first argument as a recorded write, or None if it is another.

    Args:
        op: Its canonical name.
        function: ``__setitem__``, ``copy_``, ``fill_`` or ``zero_`` give a write.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """
    if function is Tensor.__setitem__:
        return write_at_index, args[0], args[2], args[1]
    if not is_torchs(function) or plain_name(function) not in ("copy_", "fill_", "zero_"):
        return None
    value = 0 if op == "zero" else args[1] if len(args) > 1 else next(iter(kwargs.values()))
    return write_at_index, args[0], value, ...


@dataclass(frozen=True)
class _View:
    parent: Tensor
    locate: Locate


class Views:
    """Present values of the variables that were changed, and who is a view of whom.

    Args:
        run: Records ``function(*args)`` on the tape and returns its result.
    """

    def __init__(self, run: Callable[..., Tensor]) -> None:
        self._run = run
        self._now: dict[int, Tensor] = {}
        self._pending: dict[int, Callable[[], Tensor]] = {}
        self._parents: dict[int, _View] = {}
        self._children: dict[int, list[Tensor]] = {}
        self._alive: list[Tensor] = []
        # Whether any variable was changed.
        self.changed = False

    def current(self, variable: Tensor) -> Tensor:
        """The present value of what the user's code holds."""
        key = id(variable)
        if key in self._pending:
            self._now[key] = self._pending.pop(key)()
        return self._now.get(key, variable)

    def note(self, function: Function, args: Any, kwargs: Any, source: Any, out: Any) -> None:
        """Remember that ``out`` is a view of ``source``, if it is."""
        if not isinstance(source, Tensor):
            return
        if isinstance(out, Tensor):
            if self._is_new(out, source):
                self._link(source, out, _again(function, args, kwargs, None))
        elif isinstance(out, (tuple, list)):
            for index, view in enumerate(out):
                if isinstance(view, Tensor) and self._is_new(view, source):
                    self._link(source, view, _again(function, args, kwargs, index))

    def replace(self, variable: Tensor, value: Tensor) -> Tensor:
        """Give a variable a new value; its views and what it is a view of follow."""
        self.changed = True
        self._alive.append(variable)
        self._pending.pop(id(variable), None)
        self._now[id(variable)] = value
        self._spread(variable)
        return variable

    def clear(self) -> None:
        """Forget every variable."""
        for table in (self._now, self._pending, self._parents, self._children):
            table.clear()
        self._alive.clear()
        self.changed = False

    def _is_new(self, view: Tensor, source: Tensor) -> bool:
        """Whether a tensor is a view of another one, and not yet noted as a view."""
        if view is source or id(view) in self._parents:
            return False
        return _shares(view, self._now.get(id(source), source))

    def _link(self, source: Tensor, view: Tensor, locate: Locate) -> None:
        self._parents[id(view)] = _View(source, locate)
        self._children.setdefault(id(source), []).append(view)
        self._alive.extend((view, source))

    def _spread(self, variable: Tensor, source: Tensor | None = None) -> None:
        for child in self._children.get(id(variable), ()):
            if child is not source:
                self._pending[id(child)] = self._read(child)
                self._spread_down(child)
        view = self._parents.get(id(variable))
        if view is not None:
            self._pending[id(view.parent)] = self._write(view, variable)
            self._spread(view.parent, variable)

    def _spread_down(self, variable: Tensor) -> None:
        for child in self._children.get(id(variable), ()):
            self._pending[id(child)] = self._read(child)
            self._spread_down(child)

    def _read(self, child: Tensor) -> Callable[[], Tensor]:
        view = self._parents[id(child)]
        return lambda: self._run(view.locate, self.current(view.parent))

    def _write(self, view: _View, child: Tensor) -> Callable[[], Tensor]:
        before = self._pending.get(id(view.parent))
        old = self._now.get(id(view.parent), view.parent)
        value = None if id(child) in self._pending else self._now.get(id(child))

        def write() -> Tensor:
            base = before() if before is not None else old
            return self._run(
                write_into_view,
                base,
                value if value is not None else self.current(child),
                view.locate,
            )

        return write


def _again(function: Function, args: Any, kwargs: Any, index: int | None) -> Locate:
    """How a call that made a view, as one of several or alone, makes it of another tensor."""
    value = first_argument(args, kwargs)

    def locate(base: Tensor) -> Tensor:
        swapped, named = map_tensors(lambda t: base if t is value else t, (args, kwargs))
        made = function(*swapped, **named)
        return made if index is None else made[index]  # type: ignore[no-any-return]

    return locate


def _shares(a: Tensor, b: Tensor) -> bool:
    return (
        a.layout == b.layout
        and a.numel() > 0
        and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
    )
