"""What the engine refuses, each with what to do next."""

from __future__ import annotations

from biasmatters.types import BiasmattersError


class UnsupportedOperationError(BiasmattersError):
    """An operation on the path from input to output has no local affine form here."""

    def __init__(self, name: str, op: str, reason: str, advice: str = "") -> None:
        advice = advice or (
            "Replace the operation, or teach it with biasmatters.register_op(function, handler)."
        )
        super().__init__(
            f"'{op}' in '{name or 'the model'}' has no local affine form: {reason}. {advice}"
        )
        self.name = name
        self.op = op


class TrainingModeError(BiasmattersError):
    """The model is in training mode, where its output is no function of one sample."""


class InputError(BiasmattersError):
    """An input, an output or a target does not fit."""


class SampleAxisError(BiasmattersError):
    """A reshape mixes the samples of a batch in a way the engine does not follow."""
