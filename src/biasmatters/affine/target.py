"""Which output is explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.errors import InputError
from biasmatters.affine.guard import check_finite
from biasmatters.types import Target

OutputSelector = Any


def pick_output(result: Any, output: OutputSelector) -> Tensor:
    """One tensor of what the model returned.

    Args:
        result: A tensor, or a tuple, list, dict or dataclass of them.
        output: None for the tensor itself, else an index, a key, an attribute or a callable.
    """
    if callable(output):
        result = output(result)
    elif output is not None:
        result = _part(result, output)
    if not isinstance(result, Tensor):
        raise InputError(
            f"The model returned a {type(result).__name__}, not a tensor; name the part to explain "
            "with output=<index, key, attribute or callable>."
        )
    return result


def _part(result: Any, output: Any) -> Any:
    """A part by index, key or attribute."""
    is_name = isinstance(output, str) and not isinstance(result, Mapping)
    try:
        return getattr(result, output) if is_name else result[output]
    except (LookupError, AttributeError, TypeError) as error:
        raise InputError(
            f"The model's output has no part {output!r}: it is a {type(result).__name__} with "
            f"{_parts(result)}."
        ) from error


def _parts(result: Any) -> str:
    """What a structured output has."""
    if isinstance(result, Mapping):
        return f"the keys {list(result)}"
    names = [name for name in getattr(result, "__dict__", {}) if not name.startswith("_")]
    names = list(getattr(result, "_fields", names))
    if isinstance(result, (tuple, list)):
        return f"{len(result)} parts" + (f" named {names}" if names else "")
    return f"the attributes {names}"


def checked_value(value: Any, samples: int) -> Tensor:
    """What a callable target made of the output.

    Raises:
        InputError: If it is no finite tensor with one number for each sample.
    """
    if not isinstance(value, Tensor):
        raise InputError(
            f"The callable target returned a {type(value).__name__}; return a tensor "
            f"({samples},) made of the model's output, e.g. lambda out: out[:, 3]."
        )
    if value.shape != (samples,):
        raise InputError(
            f"The callable target returned shape {tuple(value.shape)}, not ({samples},)."
        )
    check_finite(value.detach(), "What the callable target returned")
    return value


def resolve_target(output: Tensor, target: Target, samples: int) -> Tensor | None:
    """The explained class of each sample, ``(N,)``, or None where each sample has one output.

    Args:
        output: ``(N, classes)`` or ``(N,)``.
        target: None (the predicted class), an int, or one class for each sample as a list,
            tuple, array or tensor.
        samples: N.

    Raises:
        InputError: For a wrong shape, a wrong count or a class that does not exist.
    """
    if output.ndim == 0 or output.shape[0] != samples:
        raise InputError(
            f"The model gave an output of shape {tuple(output.shape)} for {samples} samples; its "
            "first axis must be the samples."
        )
    if output.ndim == 1 or (output.shape[1:].numel() == 1 and target is None):
        if target is not None:
            raise InputError(f"The model has one output per sample, so target={target!r} is void.")
        return None
    if output.ndim != 2:
        raise InputError(
            f"The model's output has shape {tuple(output.shape)}; give a callable target that maps "
            "it to one number for each sample, e.g. lambda out: out[:, 3].mean((1, 2))."
        )
    if target is None:
        return output.detach().argmax(1)
    return _checked(_classes(target), output, samples)


def _classes(target: Any) -> Tensor:
    try:
        # What the caller holds is looked at where it lies, and only then brought to the output.
        made = target if isinstance(target, Tensor) else torch.as_tensor(target, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"A target is a class index, one for each sample, or a callable, not {target!r}."
        ) from error
    # An empty list holds no number that could say it is an integer.
    return made.long() if made.numel() == 0 else made


def _checked(target: Tensor, output: Tensor, samples: int) -> Tensor:
    classes = output.shape[1]
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise InputError(f"A target is a class index, not of dtype {target.dtype}.")
    if target.ndim == 0 or target.numel() == 1:
        target = target.reshape(1).expand(samples)
    if target.shape != (samples,):
        raise InputError(
            f"Got targets of shape {tuple(target.shape)} for {samples} samples; "
            "give one class, or one for each sample."
        )
    if not target.numel():
        return target.long().to(output.device)
    classes_asked = target.tolist()
    low, high = min(classes_asked), max(classes_asked)
    if low < -classes or high >= classes:
        raise InputError(
            f"Target {low if low < -classes else high} is out of range: the model has {classes} "
            f"classes (0 to {classes - 1})."
        )
    if target.device != output.device and low == high:
        return torch.full((samples,), low % classes, dtype=torch.long, device=output.device)
    found = target.long() % classes if low < 0 else target.long()
    return found.to(output.device)


def explained(output: Tensor, target: Tensor | None) -> Tensor:
    """The explained number of each sample, ``(N,)``."""
    if target is None:
        return output.reshape(output.shape[0])
    return output.gather(1, target.unsqueeze(1)).squeeze(1)
