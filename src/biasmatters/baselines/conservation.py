"""Whether relevance arrives as it set out."""

from __future__ import annotations

import warnings

import torch

from biasmatters.affine.axis import row_sums
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.question import Question
from biasmatters.baselines.relevance import Relevance
from biasmatters.types import Attribution

# How much of the absolute relevance a stabilizer may swallow.
SLACK = 1e-3
# Beyond this share of its total, a map that should be exact is an error and no warning.
WRONG = 0.1


class ConservationWarning(UserWarning):
    """A map does not sum to what its method promises."""


def conserved(
    question: Question, made: Relevance, method: str, *, exact: bool = False
) -> Attribution:
    """The answer of a method that promises a sum, with a warning where it does not keep it.

    The tolerance is 1e-3 of the absolute relevance at the output and at the input, for the
    stabilizers of the denominators; for an exact rule the square root of the machine's precision.

    Args:
        question: What is explained.
        made: What arrived, and what it should sum to.
        method: Name for messages.
        exact: Whether a map off by more than 10 % of its total is an error.

    Raises:
        MethodError: For an exact rule that is off by more than that.
    """
    total = made.total
    slack = torch.finfo(made.map.dtype).eps ** 0.5 if exact else SLACK
    tolerance = slack * (row_sums(made.map.abs()) + made.scale)
    answer = question.answer(made.map, total, tolerance)
    failed = ~(answer.residual <= tolerance)
    if not bool(failed.any()):
        return answer
    worst = int((answer.residual * failed).nan_to_num(torch.inf).argmax())
    text = (
        f"{method}'s maps of {int(failed.sum())} of {len(total)} samples do not sum to what they "
        f"should; the largest deviation is {float(answer.residual[worst]):.3g} (sample {worst}, "
        f"which should sum to {float(total[worst]):.3g})."
    )
    if exact and bool((failed & ~(answer.residual <= WRONG * total.abs())).any()):
        raise MethodError(
            f"{text} Zennit walks this model wrongly; use a method that needs no hooks, such as "
            "InputXGradient."
        )
    why = " Relevance is lost, or doubled, at units without contributions of the asked signs."
    warnings.warn(text + ("" if exact else why), ConservationWarning, stacklevel=3)
    return answer
