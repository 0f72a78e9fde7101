"""What PatternNet and PatternAttribution have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Self

from torch import Tensor, nn

from biasmatters.affine.axis import row_sums
from biasmatters.affine.recording import Step
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.modified_backward import (
    Pull,
    Rule,
    modified_backward,
    modified_descent,
    recorded,
    start,
    without_total,
)
from biasmatters.baselines.patterns import LAYERS, Patterns, fit_patterns
from biasmatters.baselines.reweighted import TRANSPOSED, reweighted, weight_of
from biasmatters.types import Attribution, Signal, Target

_UNFIT = (*TRANSPOSED, "matmul", "bmm", "mm", "mv", "rmatmul", "einsum")


class PatternMethod(ABC):
    """Walks back from the explained output, with learnt weights in place of the layers' own.

    Args:
        model: A module in evaluation mode.
        patterns: Of an earlier fit to the same model; None to `fit` first.
    """

    def __init__(self, model: nn.Module, patterns: Patterns | None = None) -> None:
        if patterns is not None and not isinstance(patterns, Patterns):
            raise MethodError(
                f"Give the Patterns that fit_patterns returned, not a {type(patterns).__name__}."
            )
        self.model = model
        self.patterns = patterns

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Learn the patterns in one pass over training inputs ``(N, *features)``."""
        self.patterns = fit_patterns(self.model, batches)
        return self

    def explain(self, x: Tensor, target: Target = None) -> Attribution:
        """The map like x ``(N, *features)``; it promises no total.

        Raises:
            MethodError: Before a fit, for patterns of another model, for layers without any, and
                for a signal that grows out of its number format (its scale is not bounded).
        """
        rule = self._fitted()
        recording = recorded(self.model, x, target)
        signal = start(recording) * recording.steps[-1].output.detach()
        found = modified_backward(recording, rule, signal)
        self._require_finite(found)
        return without_total(recording, found)

    def descend(
        self, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
    ) -> dict[str, Tensor]:
        """As `biasmatters.types.Descends` has it."""
        rule = self._fitted()
        found = modified_descent(recorded(self.model, x, row_sums), rule, start, signal, layers)
        for value in found.values():
            self._require_finite(value)
        return found

    def _fitted(self) -> Rule:
        patterns = self.patterns
        if patterns is None:
            raise MethodError(
                f"{type(self).__name__} has no patterns yet; call .fit(batches of training inputs) "
                "or give patterns=."
            )
        return lambda step: self._rule(step, patterns)

    def _require_finite(self, found: Tensor) -> None:
        if not bool(found.isfinite().all()):
            raise MethodError(
                f"{type(self).__name__}'s signal grows beyond {found.dtype}; fit to more inputs "
                "than the layers have units, or explain model.double() and x.double()."
            )

    @abstractmethod
    def _weight(self, weight: Tensor, pattern: Tensor) -> Tensor:
        """What stands in for a layer's weight."""

    @abstractmethod
    def _slope(self, slope: Tensor) -> Tensor:
        """What stands in for a batch-norm's slope."""

    def _rule(self, step: Step, patterns: Patterns) -> Pull | None:
        call = step.node.call
        if call.op == "batch_norm" and step.form.slope is not None:
            slope = self._slope(step.form.slope())
            return lambda tau: (tau * slope,)
        if call.op in LAYERS:
            weight = weight_of(call)
            pattern = patterns.patterns.get(step.label)
            if pattern is None or pattern.shape != weight.shape:
                raise MethodError(
                    f"There is no pattern for {call.op} in '{step.label}' of weight "
                    f"{tuple(weight.shape)}; fit this very model."
                )
            return reweighted(call, self._weight(weight, pattern.to(weight))).vjp
        if call.op in _UNFIT:
            raise MethodError(
                f"{type(self).__name__} has no pattern for '{call.op}' in "
                f"'{call.name or 'the model'}'; it knows linear layers and convolutions."
            )
        return None
