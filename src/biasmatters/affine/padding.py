"""Convolutions of what a model pads with zeros itself: one operation, whoever sets the zeros.

``conv(pad(x))`` is a convolution with padding of its own, on some sides more than on others, which
torch's do not have. So the zeros are no inputs that bias could be handed to, in either way of
writing it, and nothing is walked, or kept, that only copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.node import Node
from biasmatters.affine.ops.conv import convolve, geometry
from biasmatters.affine.ops.shape import zeros_around
from biasmatters.affine.registry import is_taught

PADS = ("pad", "constant_pad_nd")
CONVOLUTIONS = {"conv1d": 1, "conv2d": 2, "conv3d": 3}


def with_own_padding(nodes: Sequence[Node], root: Tensor) -> list[Node]:
    """The operations with convolutions in place of those of padded tensors.

    Args:
        nodes: In order of execution.
        root: Of what is explained, which stays as it is.

    Returns:
        As many, less the paddings that nobody else looks at.
    """
    paddings = {id(node.call.output): node.call for node in nodes if _sets_zeros(node.call)}
    if not paddings:
        return list(nodes)
    found = [_merged(node, paddings) for node in nodes]
    seen = {id(x) for node in found for x in node.call.inputs} | {id(root)}
    before = {id(x) for node in nodes for x in node.call.inputs}
    gone = (paddings.keys() & before) - seen
    return [node for node in found if id(node.call.output) not in gone]


def _sets_zeros(call: Call) -> bool:
    return call.op in PADS and not is_taught(call.function) and zeros_around(call) is not None


def _merged(node: Node, paddings: dict[int, Call]) -> Node:
    call = node.call
    axes = CONVOLUTIONS.get(call.op, 0)
    padding = paddings.get(id(call.inputs[0])) if len(call.inputs) == 1 else None
    if not axes or padding is None or is_taught(call.function):
        return node
    pads = list(zeros_around(padding) or ())
    x, padded, weight = padding.inputs[0], call.arg(0, "input"), call.arg(1, "weight")
    # Under autocast what is computed has another format than what it is computed of.
    formats = {x.dtype, weight.dtype, call.output.dtype}
    fits = padded.ndim == axes + 2 and not any(pads[2 * axes :]) and call.axes == padding.axes
    if padded is not padding.output or len(formats) > 1 or not fits:
        return node
    if padded._backward_hooks:  # noqa: SLF001 - no public one; what they change has to be seen
        return node
    pads += [0] * (2 * axes - len(pads))
    around = list(zip(pads[::2], pads[1::2], strict=False))[axes - 1 :: -1]
    stride, own, dilation = geometry(call, axes)
    both = tuple((a + c, b + d) for (a, b), (c, d) in zip(own, around, strict=True))
    arguments = x, weight, call.arg(2, "bias"), stride, both, dilation, call.arg(6, "groups", 1)
    made = replace(call, function=convolve, args=arguments, kwargs={}, inputs=(x,))
    return replace(node, call=made)
