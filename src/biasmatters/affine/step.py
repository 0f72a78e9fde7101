"""One recorded operation with its local form and the gradient at its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from biasmatters.affine.form import Form
from biasmatters.affine.guard import are_surely_finite
from biasmatters.affine.node import Node
from biasmatters.affine.sealed import sealed

if TYPE_CHECKING:
    from biasmatters.affine.chain import Chain


class Terms(Protocol):
    """The constant of an operation and the gradient that meets it."""

    def intercept(self) -> Tensor | None:
        """The constant part, broadcastable to the output, None for zero."""
        ...

    def grad(self) -> Tensor | None:
        """Like the output; None where it is not needed."""
        ...


@sealed
class Held:
    """Terms that are at hand.

    Attributes:
        constant: The intercept.
        gradient: At the output.
    """

    constant: Tensor | None
    gradient: Tensor | None

    def intercept(self) -> Tensor | None:
        """The constant."""
        return self.constant

    def grad(self) -> Tensor | None:
        """The gradient."""
        return self.gradient


@sealed
class Derived:
    """Terms that are found when they are asked for, which few are.

    Attributes:
        form: Of the operation.
        gradient: At the output of the topmost one, below which it is derived.
        above: The only operation that takes the output, None for the topmost.
    """

    form: Form
    gradient: Tensor | None
    above: Step | None

    def intercept(self) -> Tensor | None:
        """The form's own."""
        return finite_constant(self.form)

    def grad(self) -> Tensor | None:
        """The gradient; below the topmost, that behind the operation above times its slope."""
        if self.above is None:
            return self.gradient
        behind, slope = self.above.grad, self.above.form.slope
        return None if behind is None or slope is None else behind * slope()


def finite_constant(form: Form) -> Tensor | None:
    """An intercept with infinities (masked logits) as 0: the gradient that meets them is 0."""
    return finite_constants([form])[0]


def finite_constants(forms: Sequence[Form]) -> list[Tensor | None]:
    """The same of several forms, which are looked at together where that saves waiting."""
    constants = [form.intercept() for form in forms]
    fine = iter(are_surely_finite([c for c in constants if c is not None]))
    return [c if c is None or next(fine) else c.masked_fill(c.isinf(), 0) for c in constants]


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
