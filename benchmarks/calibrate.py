"""Random parameters under which a mistake shows, and activations stay of the order of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

SHIFT = 0.1
# How often larger than the output the bias may be, and how fast gains shrink until it is not.
CONTRAST, SHRINK, ROUNDS = 1000.0, 0.9, 40


def calibrate(model: nn.Module, x: Tensor) -> None:
    """Randomise every bias, gain, raw parameter and statistic, with one pass over ``x``.

    Convolutions and linear layers whose outputs come out far from unit size are rescaled,
    batch-norm takes the statistics of ``x``, and is then disturbed, so that no two layers cancel.

    Args:
        model: In evaluation mode, and again so afterwards.
        x: ``(N, 3, size, size)``, more samples than will be explained.
    """
    with torch.no_grad():
        for module in model.modules():
            _randomise(module)
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
        hooks = [layer.register_forward_hook(_rescale) for layer in layers]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        model(x)
        for hook in hooks:
            hook.remove()
        model.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            _disturb(norm)


def tame(model: nn.Module, x: Tensor) -> None:
    """Make the gains of all norms smaller until ``|f - J x|`` is at most 1000 ``(1 + |f|)``.

    Deep networks with random gains can be chaotic: gradients grow layer by layer, the local bias
    reaches 1e15 beside an output of 1e4, and sums are then exact to round-off of the former only.

    Args:
        model: In evaluation mode.
        x: ``(N, 3, size, size)``.
    """
    gains = [
        parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "weight" and parameter.ndim == 1 and not isinstance(module, nn.PReLU)
    ]
    for _ in range(ROUNDS):
        if _contrast(model, x) <= CONTRAST:
            return
        with torch.no_grad():
            for gain in gains:
                gain.mul_(SHRINK)


def _contrast(model: nn.Module, x: Tensor) -> float:
    """The largest ``|f - J x| / (1 + |f|)`` of the predicted classes."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        f = model(leaf).amax(1)
        (grad,) = torch.autograd.grad(f.sum(), leaf)
    bias = f.detach() - (grad * x).flatten(1).sum(1)
    return float((bias.abs() / (1 + f.detach().abs())).max())


def _randomise(module: nn.Module) -> None:
    """Gains around 1, everything else that is no matrix shifted, no matrix left at zero."""
    for name, parameter in module.named_parameters(recurse=False):
        noise = torch.randn_like(parameter)
        if name == "weight" and parameter.ndim <= 1:
            parameter.copy_(1 + 0.3 * noise.tanh())
        elif name != "weight" or parameter.ndim <= 1:
            parameter.add_(SHIFT * noise)
        elif not bool(parameter.any()):
            parameter.copy_(noise / parameter[0].numel() ** 0.5)


def _rescale(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor | None:
    """A forward hook: bring an output that vanishes or explodes to unit size."""
    size = float(out.std())
    if not 1e-12 < size < 1e12 or 0.3 < size < 3:
        return None
    weight = module.weight
    if isinstance(weight, Tensor):
        weight.div_(size)
    again: Tensor = module.forward(*args)
    return again


def _disturb(norm: _BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return
    # Where all samples look alike, unit variance would take a gain of millions.
    variance.clamp_min_(0.1 * float((variance + mean.square()).mean()) + 1e-6)
    mean.add_(SHIFT * variance.sqrt() * torch.randn_like(mean))
    variance.mul_(torch.empty_like(variance).uniform_(0.8, 1.25))
