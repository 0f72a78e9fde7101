"""Normalisations: batch-norm by its running statistics exactly, the others to first order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.errors import TrainingModeError
from biasmatters.affine.form import Form, elementwise, smooth
from biasmatters.affine.law import PerChannel
from biasmatters.affine.registry import decomposes, handles, rewrites


def _per_channel(call: Call, values: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (call.output.ndim - 2))


def by_running_statistics(
    call: Call, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Form:
    """``gamma (x - mean) / sqrt(var + eps) + beta``, channel by channel."""
    # The tape gives constants that are cut off from autograd.
    scale = (var + eps).rsqrt_()
    scale = scale if weight is None else scale.mul_(weight)
    shift = -mean * scale if bias is None else torch.addcmul(bias, mean, scale, value=-1)
    return elementwise(
        call,
        lambda: _per_channel(call, scale),
        lambda: _per_channel(call, shift),
        law=PerChannel(scale, shift),
    )


@handles("batch_norm")
def batch_norm(call: Call) -> Form:
    """Batch-norm in evaluation; refused where it uses the batch's own statistics."""
    mean, var = call.arg(1, "running_mean"), call.arg(2, "running_var")
    weight, bias = call.arg(3, "weight"), call.arg(4, "bias")
    if call.arg(5, "training", False) or mean is None:
        raise TrainingModeError(
            f"'batch_norm' in '{call.name}' uses the statistics of the batch, so its output is no "
            "function of one sample; call model.eval() or pass eval_mode=True "
            "(a batch-norm without running statistics cannot be explained)."
        )
    return by_running_statistics(call, mean, var, weight, bias, call.arg(7, "eps", 1e-5))


@rewrites(torch.batch_norm)
@rewrites(torch.ops.aten.batch_norm)
@rewrites(torch.ops.aten.batch_norm.default)
def batch_norm_in_torchs_order(
    input: Tensor,  # noqa: A002 - torch's own name
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001 - torch's own signature
) -> Tensor:
    """`torch.batch_norm`, whose arguments stand in another order than those of `F.batch_norm`."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@rewrites(torch.instance_norm)
@rewrites(torch.ops.aten.instance_norm)
@rewrites(torch.ops.aten.instance_norm.default)
def instance_norm_in_torchs_order(
    input: Tensor,  # noqa: A002 - torch's own name
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001 - torch's own signature
) -> Tensor:
    """`torch.instance_norm`, in another order likewise."""
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


@handles("instance_norm")
def instance_norm(call: Call) -> Form:
    """By running statistics where it has them, else to first order."""
    mean, var = call.arg(1, "running_mean"), call.arg(2, "running_var")
    if call.arg(5, "use_input_stats", True) or mean is None:
        return smooth(call)
    weight, bias = call.arg(3, "weight"), call.arg(4, "bias")
    return by_running_statistics(call, mean, var, weight, bias, call.arg(7, "eps", 1e-5))


@handles("layer_norm", "group_norm", "local_response_norm", "rms_norm",
         "softmax", "log_softmax", "softmin")  # fmt: skip
def over_features(call: Call) -> Form:
    """Unit p keeps its bias at input p: ``alpha[p, q] = 1[p = q]``."""
    return smooth(call)


@decomposes("normalize")
def normalize(
    input: Tensor,  # noqa: A002 - torch's own name
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
) -> Tensor:
    """``x / max(|x|_p, eps)``."""
    return input / torch.clamp_min(torch.norm(input, p, dim, True), eps)
