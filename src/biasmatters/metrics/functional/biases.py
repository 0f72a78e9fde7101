"""The biases of a network, and what to put in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.following import undisturbed

Replace = Literal["zero", "mean"]
BatchNorm = Literal["parameter", "effective"]

# bias, in_proj_bias, q_bias, Fixup's bias1a, and a recurrent layer's bias_ih_l0.
BIAS = re.compile(r"(.+_)?bias(\d+[a-z]?)?|bias_[ih]h_l\d+(_reverse)?")


def bias_replacements(
    model: nn.Module,
    x: Tensor,
    *,
    replace: Replace = "zero",
    batch_norm: BatchNorm = "effective",
) -> dict[str, dict[str, Tensor]]:
    """What to put in the place of each layer's bias, for the layers that x runs through.

    Biases are parameters (or buffers, as in a frozen batch-norm) called ``bias``, ``*_bias``,
    ``bias1a`` or ``bias_ih_l0``, whatever module they lie in. A batch-norm with running statistics
    computes s z + e with s = gamma / sqrt(var + eps) and the effective bias e = beta - mean s.
    Other normalisations take their mean from the picture, so only their parameter is a bias;
    learned tokens and position embeddings are not counted.

    Args:
        model: A module; it is run once in eval mode and comes back as it was. No hook is set.
        x: ``(N, *features)``; only what it runs through counts.
        replace: ``zero``, or ``mean``: every unit gets the mean of its layer's bias (an attention's
            query, key and value biases each their own; a scalar bias stays as it is).
        batch_norm: ``effective`` replaces e, and ``zero`` then leaves a pure scale;
            ``parameter`` replaces beta alone and leaves the running mean.

    Returns:
        By layer, in the order in which the biases are first used, the changed entries of the
        state, for `torch.func.functional_call`; a layer is the module that holds the bias, and
        the model's own biases go by its class's name.

    Raises:
        MetricInputError: If the model is no module, an option is unknown, or no bias is used.

    Source:
        Effective bias: Srinivas, Fleuret: Full-Gradient Representation, NeurIPS 2019.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        >>> found = bias_replacements(model, torch.ones(1, 2))
        >>> {name: list(entries) for name, entries in found.items()}
        {'0': ['0.bias'], '1': ['1.running_mean', '1.bias']}
    """
    if not isinstance(model, nn.Module):
        raise MetricInputError(f"{type(model).__name__} has no parameters; give a torch module.")
    _check_option("replace", replace, Replace)
    _check_option("batch_norm", batch_norm, BatchNorm)
    with torch.no_grad(), undisturbed(model):
        buffers = copied_buffers(model)
        state = {**dict(model.named_parameters()), **buffers}
        found: dict[str, dict[str, Tensor]] = {}
        owner: dict[int, str] = {}
        for path, module in model.named_modules():
            own = _own(path, module, state)
            changed = _changed(module, own, replace, batch_norm)
            owner |= {id(own[name]): path for name in changed}
            found[path] = {_key(path, name): value for name, value in changed.items()}
        with _Uses(owner) as uses:
            functional_call(model, buffers, (x,))
    if not uses.order:
        raise MetricInputError(
            f"{type(model).__name__} uses no bias on these inputs, so none can be removed: it has "
            f'no parameter called "bias" that runs, with batch_norm="{batch_norm}".'
        )
    return {path or type(model).__name__: found[path] for path in uses.order}


def copied_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all buffers, to run on, so that a forward pass that writes leaves the model be."""
    return {name: buffer.detach().clone() for name, buffer in model.named_buffers()}


def _check_option(name: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise MetricInputError(f"{name}={value!r} is unknown; choose one of {get_args(options)}.")


def _own(path: str, module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state that lies in the module itself, less what an earlier module shares with it."""
    tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    keys = {name: _key(path, name) for name, _ in tensors}
    return {name: state[key] for name, key in keys.items() if key in state}


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _changed(
    module: nn.Module, own: Mapping[str, Tensor], replace: Replace, batch_norm: BatchNorm
) -> dict[str, Tensor]:
    """The new values of a module's own biases."""
    if batch_norm == "effective" and {"running_mean", "running_var"} <= set(own):
        return _rescaling(own, float(getattr(module, "eps", 0.0)), replace)
    return {name: _levelled(name, v, replace) for name, v in own.items() if BIAS.fullmatch(name)}


def _rescaling(own: Mapping[str, Tensor], eps: float, replace: Replace) -> dict[str, Tensor]:
    """A batch-norm's mean and bias such that its effective bias is the same for every unit."""
    mean = own["running_mean"]
    scale = own.get("weight", torch.ones_like(mean)) / (own["running_var"] + eps).sqrt()
    effective = own.get("bias", torch.zeros_like(mean)) - mean * scale
    level = effective.mean() if replace == "mean" else torch.zeros_like(effective.mean())
    if "bias" in own:
        return {"running_mean": torch.zeros_like(mean), "bias": level.expand_as(mean).clone()}
    # Without a beta the running mean must carry it; a unit of scale 0 has no effective bias.
    return {"running_mean": torch.where(scale == 0, 0, -level / scale)}


def _levelled(name: str, bias: Tensor, replace: Replace) -> Tensor:
    """A bias of the same value for every unit."""
    if replace == "zero":
        return torch.zeros_like(bias).detach()
    parts = bias.detach().reshape(3 if name == "in_proj_bias" else 1, -1)
    return parts.mean(1, keepdim=True).expand_as(parts).reshape(bias.shape)


class _Uses(TorchFunctionMode):
    """Notes the order in which tensors are first used, whichever module or function uses them.

    Forward hooks would miss layers whose parameters are read from outside, such as the output
    projection of an attention.
    """

    def __init__(self, owner: Mapping[int, str]) -> None:
        super().__init__()
        self._owner = owner
        self.order: dict[str, None] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look at the arguments, then do what was asked."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "__get__":  # a look at its shape is not a use
            for tensor in _tensors((args, tuple(kwargs.values()))):
                if id(tensor) in self._owner:
                    self.order.setdefault(self._owner[id(tensor)])
        return func(*args, **kwargs)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
