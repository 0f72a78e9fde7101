"""What the results file says of a model."""

from __future__ import annotations

from benchmarks.results import Row
from benchmarks.zoo.ours import RULES
from benchmarks.zoo.peers import PEERS

_AFFINE = (
    "verdict", "ops", "residual", "tolerance", "passed", "bias", "output", "margin",
    "forward_seconds", "forwards", "failure",
)  # fmt: skip
_RULE = ("residual", "passed", "fallback", "forwards", "forward_seconds", "failure")
_PEER = ("outcome", "error", "failure")

COLUMNS = (
    "model", "input", "parameters", "connections", "failure",
    *(f"affine_{c}" for c in _AFFINE),
    *(f"{rule}_{c}" for rule in RULES for c in _RULE),
    *(f"{peer}_{c}" for peer in PEERS for c in _PEER),
)  # fmt: skip


def succeeded(row: Row) -> bool:
    """Whether everything of ours passed that was asked for."""
    parts = ["affine", "proportional", "uniform"]
    if row.get("softmax_neg_abs_passed") or row.get("softmax_neg_abs_failure"):
        parts.append("softmax_neg_abs")
    return not row.get("failure") and all(row.get(f"{part}_passed") == "True" for part in parts)
