"""FullGrad's decomposition: the input's part and the bias of modules, found by hooks.

    f(x) = w . x + sum_l <df/dz_l, b_l>   with b_l the bias of the l-th Conv, Linear or BatchNorm

Source: Srinivas and Fleuret, *Full-Gradient Representation for Neural Network Visualization*,
NeurIPS 2019, eq. 4. The authors' program pairs gradients with biases by order of registration;
here each call has its own gradient, so that only the method's own gaps remain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from benchmarks.zoo.subject import Subject


class FullGrad:
    """Adds up input and module biases, weighted by gradients.

    Args:
        model: In evaluation mode; its hooks are removed after each call.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._total = torch.zeros(())

    def total(self, subject: Subject) -> Tensor:
        """``(N,)`` what should be f(x)."""
        x = subject.x.clone().requires_grad_()
        self._total = torch.zeros(len(x), dtype=x.dtype)
        kinds = (_ConvNd, nn.Linear, _BatchNorm)
        hooks = [
            module.register_forward_hook(self._watch)
            for module in self.model.modules()
            if isinstance(module, kinds)
        ]
        try:
            f = self.model(x).gather(1, subject.target.unsqueeze(1)).sum()
            (w,) = torch.autograd.grad(f, x)
        finally:
            for hook in hooks:
                hook.remove()
        return (w * x).detach().flatten(1).sum(1) + self._total

    def _watch(self, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        bias = implicit_bias(module)
        if bias is None or not out.requires_grad:
            return
        axis = -1 if isinstance(module, nn.Linear) else 1
        shape = [1] * out.ndim
        shape[axis] = -1
        shift = bias.detach().reshape(shape)

        def add(grad: Tensor) -> None:
            if grad.shape[0] % len(self._total):
                raise ValueError("a layer's first axis is not the batch")
            self._total += (grad * shift).reshape(len(self._total), -1).sum(1)

        out.register_hook(add)  # type: ignore[no-untyped-call]


def implicit_bias(module: nn.Module) -> Tensor | None:
    """What a module adds to a linear map of its input, by channel."""
    bias = module.bias
    if not isinstance(module, _BatchNorm):
        return bias if isinstance(bias, Tensor) else None
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        return None
    scale = (variance + module.eps).rsqrt()
    if module.affine:
        scale = scale * module.weight
    return -mean * scale + (bias if isinstance(bias, Tensor) else 0)
