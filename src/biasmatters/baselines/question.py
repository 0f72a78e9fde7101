"""What is asked of a method, and the model that comes back as it went in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.guard import check_inputs, evaluation
from biasmatters.affine.target import checked_value, explained, pick_output, resolve_target
from biasmatters.baselines.errors import MethodError
from biasmatters.types import Attribution, Target


@dataclass(frozen=True)
class Question:
    """One batch to be explained.

    Attributes:
        model: In evaluation mode.
        x: ``(N, *features)``, detached.
        target: ``(N,)`` explained classes, or None where each sample has one output.
        choose: The callable target, if that is what was given.
    """

    model: nn.Module
    x: Tensor
    target: Tensor | None
    choose: Callable[[Tensor], Tensor] | None = None

    def value(self, z: Tensor, target: Tensor | None = None) -> Tensor:
        """``(M,)`` the explained output at ``z (M, *features)``.

        Args:
            z: Inputs; gradients flow.
            target: ``(M,)`` their classes; None for those of the question, of which there must be
                one, or M.
        """
        if self.choose is not None:
            return checked_value(self.choose(self.output(z)), len(z))
        if target is None and self.target is not None:
            target = self.target.expand(len(z))
        return explained(self.output(z), target)

    def output(self, z: Tensor) -> Tensor:
        """The model's output at ``z (M, *features)``, whatever precision a library made it in."""
        return pick_output(self.model(z.to(self.x.dtype)), None)

    def row(self, i: int) -> Question:
        """The same question about one sample."""
        target = None if self.target is None else self.target[i : i + 1]
        return replace(self, x=self.x[i : i + 1], target=target)

    def one_by_one(self, method: Callable[[Question], Tensor]) -> Attribution:
        """The answer of a method that takes one sample at a time and promises no total."""
        found = [method(row) for row in map(self.row, range(len(self.x)))]
        return self.answer(torch.cat(found) if found else self.x)

    def classes(self, method: str) -> Tensor:
        """``(N,)`` explained classes, for a library that takes nothing else.

        Raises:
            MethodError: For a callable target or a model with one output.
        """
        if self.target is None:
            raise MethodError(
                f"{method} explains a class; give an int, or one class for each sample, and a "
                "model whose output is (N, classes)."
            )
        return self.target

    def answer(
        self, found: Tensor, total: Tensor | None = None, tolerance: Tensor | None = None
    ) -> Attribution:
        """The map with its residual.

        Args:
            found: Like x.
            total: ``(N,)`` what it should sum to, None where the method promises nothing.
            tolerance: ``(N,)`` how far it may be off.
        """
        found = found.detach().to(self.x.dtype)
        if total is None or tolerance is None:
            return Attribution.without_total(found, self.target)
        residual = (row_sums(found) - total.detach()).abs()
        return Attribution(found, self.target, residual, tolerance.detach())


@contextmanager
def asking(model: nn.Module, x: Tensor, target: Target) -> Iterator[Question]:
    """Put a question to a method: checked, with gradients, and with nothing left behind.

    Args:
        model: A module in evaluation mode.
        x: ``(N, *features)``.
        target: As in `biasmatters.local_affine`.

    Raises:
        InputError, TrainingModeError: As `biasmatters.local_affine` does.
    """
    check_inputs((x,))
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluation(model, False),
        left_as_found(model),
    ):
        x = (x.clone() if x.is_inference() else x).detach()
        if callable(target):
            yield Question(model, x, None, target)
            return
        yield Question(model, x, _classes(model, x, target))


def _classes(model: nn.Module, x: Tensor, target: Target) -> Tensor | None:
    """The explained classes; to check given ones, the output of one sample will do."""
    with torch.no_grad():
        if target is None or not len(x):
            return resolve_target(pick_output(model(x.clone()), None), target, len(x))
        output = pick_output(model(x[:1].clone()), None)
        if output.ndim and len(output) == 1:
            output = output.expand(len(x), *output.shape[1:])
        return resolve_target(output, target, len(x))


def require_pictures(x: Tensor, what: str) -> None:
    """Refuse what a method of pictures cannot take, before it does anything.

    Args:
        x: ``(N, C, H, W)``.
        what: What the method does with pictures, e.g. ``RISE masks``.

    Raises:
        InputError, MethodError: For what is no tensor of finite numbers, or no picture.
    """
    check_inputs((x,))
    if x.ndim != 4:
        raise MethodError(f"{what} pictures (N, C, H, W); this input is {tuple(x.shape)}.")


@contextmanager
def left_as_found(model: object) -> Iterator[None]:
    """Gradients, their flags, attributes and hooks are afterwards as before.

    So are the global random numbers, but for GPUs; who draws there takes `noise.seeded`.
    """
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    flags = [(p, p.requires_grad, p.grad) for p in parameters]
    with torch.random.fork_rng(devices=[]), attributes_kept(model):
        try:
            yield
        finally:
            for parameter, wanted, grad in flags:
                parameter.requires_grad_(wanted)
                parameter.grad = grad


@contextmanager
def attributes_kept(model: object) -> Iterator[None]:
    """Every part's attributes, and its tables of parameters, parts and hooks, stay the same."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    kept = [(m, dict(vars(m)), _copies(m)) for m in modules]
    try:
        yield
    finally:
        for module, attributes, tables in kept:
            vars(module).clear()
            vars(module).update(attributes)
            for name, table in tables.items():
                attributes[name].clear()
                attributes[name].update(table)


def _copies(module: nn.Module) -> dict[str, Any]:
    """The tables of a module."""
    return {name: table.copy() for name, table in vars(module).items() if isinstance(table, dict)}
