"""One recorded operation with its local form and the gradient at its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from biasmatters.affine.form import Form
from biasmatters.affine.node import Node
from biasmatters.affine.sealed import sealed

if TYPE_CHECKING:
    from biasmatters.affine.chain import Chain


@sealed
class Terms:
    """The constant of an operation and the gradient that meets it, held or found when asked for.

    Attributes:
        intercept: The constant part, broadcastable to the output, None for zero.
        grad: Like the output; None where it is not needed.
    """

    intercept: Callable[[], Tensor | None]
    grad: Callable[[], Tensor | None]

    @classmethod
    def held(cls, intercept: Tensor | None, grad: Tensor | None) -> Terms:
        """Terms that are at hand."""
        return cls(lambda: intercept, lambda: grad)


@sealed
class Step:
    """One recorded operation.

    Attributes:
        node: What ran.
        form: What it is around the recorded point.
        label: Its name, with a number where a module runs several operations.
        terms: Its constant and gradient.
        chain: What follows it one to one and is walked together with it.
        within: Whether it is such a follower, so that another step's chain has it.
    """

    node: Node
    form: Form
    label: str
    terms: Terms
    chain: Chain | None = None
    within: bool = False

    @property
    def output(self) -> Tensor:
        """The operation's output."""
        return self.node.call.output

    @property
    def intercept(self) -> Tensor | None:
        """The constant part, broadcastable to the output, None for zero."""
        return self.terms.intercept()

    @property
    def grad(self) -> Tensor | None:
        """The gradient at the output; None where no constant meets it."""
        return self.terms.grad()

    def injected(self) -> Tensor | None:
        """``G * intercept`` like the output: the bias that this operation puts in."""
        grad, intercept = self.grad, self.intercept
        return None if grad is None or intercept is None else grad * intercept
