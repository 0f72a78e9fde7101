"""Copies of a model whose layers lose what they have learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from biasmatters.metrics.functional._checks import MetricInputError

LayerOrder = Literal["cascading", "independent", "bottom_up"]
# Qualified name of a layer -> those of the modules to be reset in it.
Steps = Mapping[str, Sequence[str]]


def intact_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode that shares nothing with the model.

    Raises:
        MetricInputError: If it cannot be copied.
    """
    try:
        return deepcopy(model).eval()
    except (RuntimeError, TypeError) as error:
        raise MetricInputError(f"the model cannot be copied: {error}") from error


def layer_steps(
    model: nn.Module, layers: Sequence[str] | None = None, order: LayerOrder = "cascading"
) -> Steps:
    """The layers in the order in which they are randomised.

    Args:
        model: The model.
        layers: Qualified names from the output side down; a block stands for all that it holds.
            None is every module that can be reset, each alone, in the reverse of the order in
            which the model registers them.
        order: ``bottom_up`` turns it round.

    Returns:
        For each layer the modules to be reset.

    Raises:
        MetricInputError: For a model that is no module, an unknown order or name, a name given
            twice, nothing to randomise, or, without names, parameters that no module says how to
            draw.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> layer_steps(model)
        {'3': ['3'], '0': ['0']}
    """
    if not isinstance(model, nn.Module):
        raise MetricInputError(
            f"model is a {type(model).__name__}; layers are randomised in an nn.Module: wrap it."
        )
    if order not in get_args(LayerOrder):
        raise MetricInputError(f"order={order!r} is unknown; choose one of {get_args(LayerOrder)}.")
    able = [name for name, module in model.named_modules() if _can_be_reset(module)]
    if layers is None:
        _check_all_known(model)
        steps = {name: [name] for name in reversed(able)}
    else:
        steps = {name: [inner for inner in able if _inside(inner, name)] for name in layers}
        empty = [name for name, inner in steps.items() if not inner]
        if empty or len(steps) < len(layers):
            raise MetricInputError(
                f"layers={list(layers)} cannot be randomised: give each once, and only what holds "
                f"a module with reset_parameters(), not {empty}; choose from {able}."
            )
    if not steps:
        raise MetricInputError("the model has no layer that could be randomised.")
    names = list(steps)[::-1] if order == "bottom_up" else list(steps)
    return {name: steps[name] for name in names}


def randomized(
    model: nn.Module, steps: Steps, *, alone: bool = False, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Draw one layer after another anew, in a copy of the model.

    A module goes back to where training starts, by its own ``reset_parameters()``, as the field
    does it: weights and biases are drawn from its initial law; batch-norm gets scale 1, shift 0
    and forgets its running statistics (mean 0, variance 1), so that a cascade ends in an untrained
    network. What a module draws depends on the seed and on its place in the model alone: it is the
    same in any order, for any choice of layers, and on any device.

    Args:
        model: Left as it is.
        steps: From :func:`layer_steps`.
        alone: Randomise each layer in a copy of its own; else keep what is random already.
        seed: Of the draws; the global generator is left as it was.

    Yields:
        The layer's name and the copy, in eval mode. Without ``alone`` that is one module changed
        in place: bind a method to it anew each time.

    Raises:
        MetricInputError: If resetting a module leaves some of its weights as they were.
    """
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    draws = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (len(places),), generator=draws).tolist()
    copy: nn.Module | None = None
    for name, inner in steps.items():
        if copy is None or alone:
            copy = intact_copy(model)
        modules = dict(copy.named_modules())
        for part in inner:
            _reset(part, modules[part], seeds[places[part]])
        yield name, copy


def _reset(name: str, module: nn.Module, seed: int) -> None:
    """Reset one module on the CPU, under a generator of its own, and put it back."""
    before = {key: p.detach().clone() for key, p in module.named_parameters(recurse=False)}
    device = next(_held(module)).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # torch.manual_seed would seed the accelerators' generators too.
        torch.default_generator.manual_seed(seed)
        draw = _how(module.cpu())
        if draw is not None:
            draw()
    module.to(device)
    kept = [key for key, old in before.items() if _survived(old, getattr(module, key))]
    if kept or is_parametrized(module):
        raise MetricInputError(
            f"reset_parameters() of {name!r} left {kept or 'its weights'} as they were (is it "
            "under weight norm, or another parametrization?); remove that from the model first, "
            "or name the layers to randomise."
        )


def _survived(old: Tensor, new: Tensor) -> bool:
    """Whether a parameter still is what it was; constants may well have been there before."""
    same = torch.equal(old, new)
    return same and bool((new != new.flatten()[:1]).any())


def _how(module: nn.Module) -> Callable[[], object] | None:
    """How a module draws its parameters; attention keeps that to itself."""
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(draw := getattr(module, name, None)):
            return cast("Callable[[], object]", draw)
    return None


def _held(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of the module itself."""
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _can_be_reset(module: nn.Module) -> bool:
    """Whether it holds something, and says how that is drawn."""
    return next(_held(module), None) is not None and _how(module) is not None


def _check_all_known(model: nn.Module) -> None:
    """Refuse parameters that would stay as they are to the end of a cascade."""
    mute = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None and not _can_be_reset(module)
    ]
    if mute:
        raise MetricInputError(
            f"{mute} hold parameters but have no reset_parameters(), so how to draw them anew is "
            "unknown: give them that method, or name the layers to randomise."
        )


def _inside(name: str, block: str) -> bool:
    """Whether a module of that name is the block or lies in it."""
    return not block or name == block or name.startswith(f"{block}.")
