"""All of a model's and a process's state that an explanation has to leave as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack

HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Tensors among a module's plain attributes, also in its lists and dicts."""
    found: dict[str, Tensor] = {}
    for name, value in vars(module).items():
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        items = value.items() if isinstance(value, dict) else [("", value)]
        if isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        found.update({f"{name}{key}": v for key, v in items if isinstance(v, Tensor)})
    return found


def of_tensor(t: Tensor | None) -> Any:
    """A tensor's identity, version, flags, values and hooks, and those of its gradient."""
    if t is None:
        return None
    grad = t.grad if t.is_leaf else None
    values = t.detach().tolist()
    return (id(t), t._version, t.requires_grad, t.is_leaf, id(t.grad_fn) if t.grad_fn else 0,
            values, t.dtype, t.stride(), len(t._backward_hooks or ()), of_tensor(grad))  # fmt: skip


def of_module(module: nn.Module) -> dict[str, Any]:
    named = {**module._parameters, **module._buffers, **tensors_of(module)}
    return {
        "type": type(module),
        "training": module.training,
        "names": sorted(vars(module)),
        "tensors": {name: of_tensor(t) for name, t in named.items()},
        "hooks": [len(getattr(module, name)) for name in HOOKS],
    }


def of_process() -> dict[str, Any]:
    counts = [len(v) for name, v in vars(hooks).items() if name.startswith("_global_")
              and isinstance(v, dict)]  # fmt: skip
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global generator
        "python": random.getstate(),
        "global_hooks": counts,
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "modes": len(_get_current_function_mode_stack()),
        "dtype": torch.get_default_dtype(),
    }


def snapshot(net: nn.Module, *tensors: Tensor) -> dict[str, Any]:
    """Everything, to be compared with ``==``."""
    return {
        "modules": {name: of_module(module) for name, module in net.named_modules()},
        "tensors": [of_tensor(t) for t in tensors],
        "process": of_process(),
    }
