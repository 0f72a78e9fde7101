"""Rules: how one unit's bias is split over its inputs."""

from __future__ import annotations

from biasmatters.rules.proportional import Proportional
from biasmatters.rules.rule import Rule, RuleError, SplitsBent, SplitsBranches
from biasmatters.rules.softmax_abs import SoftmaxAbs
from biasmatters.rules.softmax_neg_abs import SoftmaxNegAbs
from biasmatters.rules.softmax_signed import SoftmaxSigned
from biasmatters.rules.uniform import Uniform

RULES = ("softmax_neg_abs", "softmax_abs", "softmax_signed", "uniform", "proportional")

__all__ = [
    "RULES",
    "Proportional",
    "Rule",
    "RuleError",
    "SoftmaxAbs",
    "SoftmaxNegAbs",
    "SoftmaxSigned",
    "SplitsBent",
    "SplitsBranches",
    "Uniform",
    "make_rule",
]


def make_rule(rule: str | Rule, temperature: float = 1.0) -> Rule:
    """A rule by name, or the rule itself.

    Args:
        rule: One of `RULES`, or any object that follows the `Rule` protocol.
        temperature: For the softmax rules given by name.

    Raises:
        RuleError: For an unknown name or a temperature that is not positive.
    """
    if not isinstance(rule, str):
        return rule
    match rule:
        case "softmax_neg_abs":
            return SoftmaxNegAbs(temperature)
        case "softmax_abs":
            return SoftmaxAbs(temperature)
        case "softmax_signed":
            return SoftmaxSigned(temperature)
        case "uniform":
            return Uniform()
        case "proportional":
            return Proportional()
    raise RuleError(f"Unknown rule '{rule}'; the rules are {', '.join(RULES)}.")
