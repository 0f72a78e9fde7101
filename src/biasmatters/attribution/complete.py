"""Any map of the w part made whole by bias back-propagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.errors import InputError
from biasmatters.affine.walker import Fallback
from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.rules import Rule
from biasmatters.types import Attribution, AttributorFactory, Fittable, Target

# Share of the absolute sum of a map that its method may miss w.x by: LRP's stabilizers do.
SLACK = 1e-3


class Complete:
    """A method that shares out w.x, and BBp for the bias that it leaves out: together f(x).

    Input times gradient and LRP-epsilon sum to ``w.x = f(x) - b``; what their users see as a
    conservation error is b. A method that sums to something else is found out by the residual.

    Args:
        model: A module in evaluation mode.
        method: Makes the method from the model, e.g. ``InputXGradient``.
        rule, temperature, fold, fallback: As in `BiasBackprop`.

    Example:
        >>> import torch, biasmatters as bm
        >>> from biasmatters.attribution import Complete, InputXGradient
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> Complete(net, InputXGradient, rule="proportional").explain(torch.ones(2, 4), 1).complete
        True
    """

    def __init__(
        self,
        model: nn.Module,
        method: AttributorFactory,
        rule: str | Rule = "softmax_neg_abs",
        temperature: float = 1.0,
        fold: bool = True,
        fallback: Fallback = "uniform",
    ) -> None:
        self.model = model
        self.method = method(model)
        self._bbp = BiasBackprop(model, rule, temperature, fold, fallback)
        self.rule = self._bbp.rule

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Hand training inputs ``(N, *features)`` to the method, if it learns from them."""
        if isinstance(self.method, Fittable):
            self.method.fit(batches)
        return self

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The method's map plus BBp's, like x ``(N, *features)``, with the share ``b / f(x)``."""
        part = self.method.explain(x, target)
        if not isinstance(part.map, Tensor) or part.map.shape != x.shape:
            raise InputError(
                f"{type(self.method).__name__} gives no map like the input {tuple(x.shape)}, so "
                "there is nothing to add the bias to; choose a method over input features."
            )
        found = self._bbp.certified((x,), target if part.target is None else part.target)
        return found.whole(part.map, SLACK * row_sums(part.map.abs()))
