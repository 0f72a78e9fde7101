"""Layers by name: where a signal sets out, and where it is read off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError
from biasmatters.affine.recording import Recording
from biasmatters.types import INPUT, Signal

PassOn = Callable[[str, Tensor], Tensor]


def place_of(recording: Recording, name: str) -> int:
    """Number of the step that made a module's output: the last that it, or a part of it, ran.

    Args:
        recording: In which the result of an operation in place is a tensor of its own.
        name: Qualified name of the module.

    Raises:
        InputError: For a module that ran no operation, or ran more than once.
    """
    names = [step.node.call.name for step in recording.steps]
    inside = [i for i, n in enumerate(names) if name and f"{n}.".startswith(f"{name}.")]
    if not inside:
        raise InputError(
            f"No operation of '{name}' was recorded; name a module that computes something (in "
            f"evaluation mode dropout does not), such as '{next(filter(None, names), '')}'."
        )
    if inside[-1] - inside[0] >= len(inside):
        raise InputError(_more_than_once(name))
    return inside[-1]


def below(recording: Recording, start: str) -> Recording:
    """The recording up to a module's output, which is its last operation's."""
    return replace(recording, steps=recording.steps[: place_of(recording, start) + 1])


def output_of(recording: Recording, name: str) -> Tensor:
    """What a module put out, or the input itself for ``INPUT``."""
    if name == INPUT:
        return recording.inputs[0]
    return recording.steps[place_of(recording, name)].output


def signal_at(output: Tensor, signal: Signal) -> Tensor:
    """A signal like the output of the layer at which it sets out.

    Raises:
        InputError: For one of another shape.
    """
    output = output.detach()
    made = signal if isinstance(signal, Tensor) else signal(output)
    if made.shape != output.shape:
        raise InputError(
            f"The signal has shape {tuple(made.shape)} and the layer at which it sets out puts out "
            f"{tuple(output.shape)}; give one number for each unit."
        )
    return made.detach().to(output)


def arrived(found: Mapping[str, Tensor], start: str, layers: Sequence[str]) -> dict[str, Tensor]:
    """What arrived at each layer.

    Raises:
        InputError: For layers that are not below the start.
    """
    missing = [name for name in layers if name not in found]
    if missing:
        raise InputError(f"Nothing gets from '{start}' to {missing}; name layers below the start.")
    return {name: found[name].detach() for name in layers}


def _a_copy(_: str, output: Tensor) -> Tensor:
    return output.clone()


@contextmanager
def captured(
    model: nn.Module, names: Collection[str], pass_on: PassOn = _a_copy
) -> Iterator[dict[str, Tensor]]:
    """The outputs of some modules in the forward pass that is run meanwhile.

    Args:
        model: Its hooks, if it has any, see an output first.
        names: Of modules.
        pass_on: Makes of a name and an output what the model goes on with; a copy, so that an
            operation in place does not change the output.

    Raises:
        InputError: For a name that is no module's, or a module that runs more than once, or puts
            out no tensor.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> Tensor:
        if name in found:
            raise InputError(_more_than_once(name))
        if not isinstance(output, Tensor):
            raise InputError(f"'{name}' puts out a {type(output).__name__}, not a tensor.")
        found[name] = output
        return pass_on(name, output)

    modules = {n: m for n, m in model.named_modules(remove_duplicate=False) if n}
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise InputError(f"The model has no modules {unknown}; it has {', '.join(modules)}.")
    hooks = [
        modules[name].register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name in names
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def pulled_back(
    model: nn.Module, x: Tensor, start: str, signal: Signal, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Hand a signal down by autograd, with whatever hooks the model has.

    Args:
        model: In evaluation mode.
        x: As in `biasmatters.types.Descends`, like all that follow.
        start: A module.
        signal: At its output.
        layers: Modules, and ``INPUT``.
    """
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad(), captured(model, {start, *layers} - {INPUT}) as found:
        model(leaf.clone())
    missing = {start, *layers} - {INPUT, *found}
    if missing:
        raise InputError(f"The model does not run {sorted(missing)}.")
    found[INPUT] = leaf
    top, places = found[start], [name for name in layers if found[name].requires_grad]
    value = signal_at(top, signal)
    if not (places and top.requires_grad):
        return arrived({}, start, layers)
    grads = torch.autograd.grad(top, [found[n] for n in places], value, allow_unused=True)
    parts = {name: g for name, g in zip(places, grads, strict=True) if g is not None}
    return arrived(parts, start, layers)


def _more_than_once(name: str) -> str:
    return f"'{name}' runs more than once; name a module that runs once, such as the one around it."
