"""How positive and negative differences from a reference pass an operation, and back.

A difference travels as a pair (positive, negative) whose sum is the difference. On the way back
there is a multiplier for each of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.recording import Step
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.reweighted import CONVOLUTIONS, TRANSPOSED, reweighted, weight_of

Pair = tuple[Tensor, Tensor]
# Turns the multipliers at an operation's output into those at each of its inputs.
PairPull = Callable[[Pair], list[Pair]]
Passage = tuple[Pair, PairPull]

_LAYERS = {"linear", *CONVOLUTIONS, *TRANSPOSED}
_SLOPED = {
    "batch_norm", "instance_norm", "mul", "multiply", "div", "divide", "true_divide", "add", "sub",
    "subtract", "rsub", "neg", "negative", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "alpha_dropout", "feature_alpha_dropout", "clone", "contiguous", "to", "type", "float",
    "double", "type_as", "alias", "positive",
}  # fmt: skip
_SUMMED = {"add", "sub", "subtract", "rsub"}
_SHARED_OUT = {
    "flatten", "unflatten", "reshape", "view", "view_as", "reshape_as", "permute", "transpose",
    "swapaxes", "swapdims", "movedim", "moveaxis", "t", "squeeze", "unsqueeze", "expand", "ravel",
    "flip", "split", "chunk", "unbind", "split_with_sizes", "narrow", "select", "getitem",
    "index_select", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "cat", "concat",
    "concatenate", "stack", "pad", "constant_pad_nd", "mean", "sum", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
}  # fmt: skip
_LARGEST = {
    f"{kind}max_pool{axes}d{more}"
    for kind in ("", "adaptive_")
    for axes in (1, 2, 3)
    for more in ("", "_with_indices")
} | {"amax", "amin"}
_MONOTONE = {
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "hardtanh", "clamp", "clip", "clamp_min",
    "clamp_max", "hardsigmoid", "elu", "celu", "selu", "sigmoid", "special_expit", "tanh",
    "softplus", "softsign", "logsigmoid", "softshrink", "exp",
}  # fmt: skip


def passage(step: Step, reference: Step, pairs: Sequence[Pair]) -> Passage:
    """The pair at an operation's output, and the way back.

    Args:
        step: The operation at the input that is explained.
        reference: The same operation at the reference.
        pairs: The pairs at its inputs.

    Raises:
        MethodError: For an operation without a rule.
    """
    call = step.node.call
    if call.op in _LAYERS:
        return _by_weights(call, reference.node.call)
    sloped = step.form.slope is not None and step.form.kind == "elementwise"
    if call.op in _SLOPED and sloped:
        return _by_slope(step, pairs[0])
    if call.op in _SHARED_OUT or (call.op in _SUMMED and len(pairs) == 2):
        return _by_copies(call, pairs)
    if call.op in _LARGEST:
        return _by_largest(call, reference.node.call, pairs[0])
    if call.op in _MONOTONE and len(pairs) == 1:
        return _by_orders(call, reference.node.call, pairs[0])
    raise MethodError(
        f"RevealCancel has no rule for '{call.op}' in '{call.name or 'the model'}'; it knows "
        "layers, batch-norm, sums, reshapes, pooling and monotone activations. Use "
        "IntegratedGradients for other models."
    )


def _by_weights(call: Call, reference: Call) -> Passage:
    """A contribution ``w_i dx_i`` counts whole as positive or negative, by its sign."""
    rise = call.inputs[0].detach() - reference.inputs[0].detach()
    weight = weight_of(call)
    up, down = reweighted(call, weight.clamp_min(0)), reweighted(call, weight.clamp_max(0))
    more, less = [rise.clamp_min(0)], [rise.clamp_max(0)]
    out = up.run(more) + down.run(less), up.run(less) + down.run(more)

    def pull(by: Pair) -> list[Pair]:
        risen = up.vjp(by[0])[0] + down.vjp(by[1])[0]
        fallen = down.vjp(by[0])[0] + up.vjp(by[1])[0]
        side = rise.sign()
        both = ((1 + side) * risen + (1 - side) * fallen) / 2
        return [(both, both)]

    return out, pull


def _by_slope(step: Step, pair: Pair) -> Passage:
    """One input, a constant slope: the pair keeps apart, and a negative slope swaps it."""
    slope = torch.ones(()) if step.form.slope is None else step.form.slope()
    up, down = slope.clamp_min(0), slope.clamp_max(0)
    shape, before = step.output.shape, pair[0].shape
    more, less = pair[0] * up + pair[1] * down, pair[1] * up + pair[0] * down

    def pull(by: Pair) -> list[Pair]:
        back = by[0] * up + by[1] * down, by[0] * down + by[1] * up
        return [(back[0].sum_to_size(before), back[1].sum_to_size(before))]

    return (more.expand(shape), less.expand(shape)), pull


def _by_copies(call: Call, pairs: Sequence[Pair]) -> Passage:
    """Sums, averages and moves: each part goes by itself, a subtracted one swapped."""
    swaps = _subtracted(call)
    zero = call.run([torch.zeros_like(x) for x in call.inputs])

    def run(part: int) -> Tensor:
        chosen = [pair[part ^ swap] for pair, swap in zip(pairs, swaps, strict=True)]
        return call.run(chosen) - zero

    def pull(by: Pair) -> list[Pair]:
        back = list(zip(call.vjp(by[0]), call.vjp(by[1]), strict=True))
        return [(b[swap], b[1 - swap]) for b, swap in zip(back, swaps, strict=True)]

    return (run(0), run(1)), pull


def _subtracted(call: Call) -> list[bool]:
    """Which inputs enter with a minus sign."""
    if call.op not in _SUMMED:
        return [False] * len(call.inputs)
    first, second = call.arg(0, "input"), call.arg(1, "other")
    scaled = bool(call.arg(2, "alpha", 1) < 0)
    if call.op == "rsub":
        minus = {id(first): not scaled, id(second): False}
    else:
        minus = {id(first): False, id(second): (call.op != "add") != scaled}
    return [minus[id(x)] for x in call.inputs]


def _by_largest(call: Call, reference: Call, pair: Pair) -> Passage:
    """The largest entry at the input and the largest at the reference share the difference.

    The output's rise lies between the rises of these two entries, so it is one and only one
    mixture of them; both parts of the pair, and the multipliers, are mixed likewise.
    """
    rise = call.output.detach() - reference.output.detach()
    step = call.inputs[0].detach() - reference.inputs[0].detach()
    new, old = _push(call, step), _push(reference, step)
    apart = new - old
    share = torch.where(apart == 0, 1, (rise - old) / apart).clamp(0, 1)

    def run(part: Tensor) -> Tensor:
        return share * _push(call, part) + (1 - share) * _push(reference, part)

    def back(by: Tensor) -> Tensor:
        return call.vjp(share * by)[0] + reference.vjp((1 - share) * by)[0]

    return (run(pair[0]), run(pair[1])), lambda by: [(back(by[0]), back(by[1]))]


def _by_orders(call: Call, reference: Call, pair: Pair) -> Passage:
    """RevealCancel: each part's effect, averaged over being added before and after the other."""
    base, end = reference.inputs[0].detach(), call.inputs[0].detach()
    low, high = reference.output.detach(), call.output.detach()
    more, less = call.run([base + pair[0]]), call.run([base + pair[1]])
    out = ((more - low) + (high - less)) / 2, ((less - low) + (high - more)) / 2
    slope = call.vjp(torch.ones_like(high))[0]
    least = 8 * torch.finfo(base.dtype).eps * (base.abs() + end.abs())

    def ratio(effect: Tensor, part: Tensor) -> Tensor:
        small = part.abs() <= least
        return torch.where(small, slope, effect / part.masked_fill(small, 1))

    factors = ratio(out[0], pair[0]), ratio(out[1], pair[1])
    return out, lambda by: [(by[0] * factors[0], by[1] * factors[1])]


def _push(call: Call, values: Tensor) -> Tensor:
    """The call's local Jacobian times values like its input."""
    leaf = call.inputs[0].detach().requires_grad_()
    with torch.enable_grad():
        out = call.run([leaf])
        dual = torch.zeros_like(out).requires_grad_()
        (pulled,) = torch.autograd.grad(out, leaf, dual, create_graph=True)
        return torch.autograd.grad((pulled * values).sum(), dual)[0]
