"""Which recorded operations rectify."""

from __future__ import annotations

from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.recording import Recording
from biasmatters.baselines.errors import MethodError

LEAKY = {"leaky_relu", "prelu", "rrelu"}

_SHOWN = 5

_ACTIVATIONS = LEAKY | {
    "abs", "celu", "clamp", "clamp_max", "clamp_min", "clip", "elu", "gelu", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "mish", "selu", "sigmoid", "silu",
    "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "softmax",
}  # fmt: skip


def is_rectifier(call: Call) -> bool:
    """Whether an operation is 0 below 0 and not above: a ReLU, however it is written.

    `nn.ReLU6` runs ``hardtanh`` with the bounds 0 and 6, so this and ``clamp`` count where their
    lower bound is 0; a hard tanh with another lower bound does not. ``maximum(z, 0)`` and masks,
    ``where(z > 0, z, 0)`` or ``z * (z > 0)``, are not recognised.
    """
    if call.op in ("relu", "relu6"):
        return True
    if call.op == "hardtanh":
        return _is_zero(call.arg(1, "min_val", -1.0))
    if call.op in ("clamp", "clip", "clamp_min"):
        return _is_zero(call.arg(1, "min"))
    if call.op == "threshold":
        return _is_zero(call.arg(1, "threshold")) and _is_zero(call.arg(2, "value"))
    return False


def rectifies(call: Call) -> bool:
    """Whether an operation is a ReLU or a leaky one."""
    return is_rectifier(call) or call.op in LEAKY


def require_rectifiers(recording: Recording, method: str) -> None:
    """Refuse a model that a method of rectifiers would treat like the plain gradient.

    Raises:
        MethodError: Naming the activations that the model has.
    """
    calls = [step.node.call for step in recording.steps]
    if any(map(rectifies, calls)):
        return
    places = (f"{c.op} in '{c.name or 'the model'}'" for c in calls if c.op in _ACTIVATIONS)
    met = list(dict.fromkeys(places))
    rest = f" and {len(met) - _SHOWN} more" if len(met) > _SHOWN else ""
    raise MethodError(
        f"{method} changes the gradient at ReLUs (relu, relu6, leaky_relu, prelu, or a clamp at "
        f"0), and this model has none; its activations are: {', '.join(met[:_SHOWN]) or 'none'}"
        f"{rest}. Without a ReLU it is the plain gradient: use Gradient."
    )


def _is_zero(value: object) -> bool:
    if isinstance(value, Tensor):
        return not bool(value.any())
    return isinstance(value, (int, float)) and value == 0
