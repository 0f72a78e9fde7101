"""The layer that a method looks into."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.question import Question


def pick_layer(question: Question, name: str | None) -> nn.Module:
    """A module whose output is a set of maps ``(N, C, H, W)``.

    Args:
        question: Its model is run once on one sample.
        name: Qualified name, or None for the last leaf module in order of execution that gives
            maps of more than one place.

    Raises:
        MethodError: For a model that has none, or none of that name.
    """
    shapes = _shapes(question, leaves=name is None)
    maps = [n for n, shape in shapes.items() if len(shape) == 4 and shape[2] * shape[3] > 1]
    if name is None:
        if not maps:
            raise MethodError(
                "No layer of this model gives maps (N, C, H, W) to look into; take a "
                "method for any network, such as integrated_gradients."
            )
        return question.model.get_submodule(maps[-1])
    if name not in maps:
        raise MethodError(
            f"layer={name!r} gives no maps (N, C, H, W); these do: {', '.join(maps) or 'none'}."
        )
    return question.model.get_submodule(name)


def _shapes(question: Question, *, leaves: bool) -> dict[str, torch.Size]:
    """Shapes of the modules' outputs, or of the leaf modules', in order of execution."""
    found: dict[str, torch.Size] = {}
    handles = []
    for name, module in question.model.named_modules():
        if name and not (leaves and any(True for _ in module.children())):

            def note(_: nn.Module, __: object, out: object, name: str = name) -> None:
                if isinstance(out, Tensor):
                    found.pop(name, None)
                    found[name] = out.shape

            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            question.model(question.x[:1].clone())
    finally:
        for handle in handles:
            handle.remove()
    return found
