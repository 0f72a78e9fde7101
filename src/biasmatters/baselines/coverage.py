"""What a library that hooks modules does not reach in a model.

Such a library sees ``nn.ReLU`` and never ``F.relu``, a sum module and never ``g + h``. What it does
not see goes by the gradient, without a word. Our recording sees every operation, so the two can be
compared before anything is propagated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from biasmatters.affine.recording import Options, Recording, Step, record
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.libraries import library
from biasmatters.types import Target

# "once": the hook remembers one input, so it is right for a module that runs once; "always": it
# replaces the gradient of one-to-one operations and remembers nothing.
Reach = Literal["always", "once"]
Reaches = Callable[[nn.Module], Reach | None]
Matters = Callable[[Step], bool]

_NAMED = 8


def missed(
    model: nn.Module, x: Tensor, reaches: Reaches, matters: Matters, target: Target = None
) -> tuple[str, ...]:
    """The operations that a method should treat and that its hooks do not reach.

    Args:
        model: In evaluation mode.
        x: ``(N, *features)``.
        reaches: Whether a module's hook covers what the module does, and how often.
        matters: Whether an operation may not be left to the gradient: `matters_to_relevance`,
            `bends`, or another function of a recorded step.
        target: As in `biasmatters.local_affine`.

    Returns:
        Each as ``relu in layer1.0`` (operation and qualified module), in order of execution.
    """
    return unreached(forward(model, x, target), model, reaches, matters)


def forward(model: nn.Module, x: Tensor, target: Target) -> Recording:
    """A recording whose steps end at the model's output, before those of a callable target."""
    outputs: list[Tensor] = []
    explained = target
    if callable(target):
        choose = target

        def noted(output: Tensor) -> Tensor:
            outputs.append(output)
            return choose(output)

        explained = noted
    recording = record(model, (x,), explained, Options())
    ends = [i for i, step in enumerate(recording.steps) if outputs and step.output is outputs[0]]
    return replace(recording, steps=recording.steps[: ends[0] + 1]) if ends else recording


def unreached(
    recording: Recording, model: nn.Module, reaches: Reaches, matters: Matters
) -> tuple[str, ...]:
    """As `missed`, of a model that is recorded already."""
    modules, runs = dict(model.named_modules()), times_run(recording)
    found: dict[str, None] = {}
    for step in recording.steps:
        name, op = step.node.call.name, step.node.call.op
        where = f"{op} in {name or 'the model'}"
        reach = reaches(modules[name]) if name in modules else None
        if reach == "once" and step.form.kind != "routing":
            if runs[name] > 1:
                found[f"{where} (runs {runs[name]} times)"] = None
            elif not _by_its_weight(step, modules[name]):
                found[f"{where} (with a weight made of other parameters)"] = None
        elif (reach != "always" or not _one_to_one(step)) and matters(step):
            found[where] = None
    return tuple(found)


def _by_its_weight(step: Step, module: nn.Module) -> bool:
    """Whether a layer multiplies by the very parameter ``weight`` that a hook would change."""
    used = step.node.call.arg(1, "weight")
    if step.form.kind != "mixing" or not isinstance(used, Tensor):
        return True
    own = dict(module.named_parameters(recurse=False)).get("weight")
    return own is not None and own.data_ptr() == used.data_ptr()


def times_run(recording: Recording) -> Counter[str]:
    """How many operations, but for mere copies, each module runs."""
    return Counter(s.node.call.name for s in recording.steps if s.form.kind != "routing")


def matters_to_relevance(step: Step) -> bool:
    """Whether relevance that passes an operation by its gradient comes out wrong.

    Copies hand their relevance on by the gradient. So does a ReLU: it is 1 where the unit is
    active, and no rule whose shares are proportional to activations gives relevance to a unit that
    is 0. Everything else mixes, scales or adds constants.
    """
    if step.intercept is not None and bool(step.intercept.any()):
        return True
    if step.form.kind == "routing" or step.node.call.op == "relu":
        return False
    slope = step.form.slope if step.form.kind == "elementwise" else None
    return slope is None or not bool((slope() == 1).all())


def bends(step: Step) -> bool:
    """Whether an operation is one-to-one and has a kink, as ReLU has."""
    return step.form.kind == "elementwise" and step.form.gap is not None


def refuse(method: str, names: tuple[str, ...]) -> None:
    """Refuse a model of which something is missed.

    Raises:
        MethodError: With the operations and what to do.
    """
    if not names:
        return
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise MethodError(
        f"{method} works by hooks on modules and does not reach {', '.join(names[:_NAMED])}{more}; "
        "its map would be wrong without a word. Write them as modules that run once (nn.ReLU, "
        "nn.Linear, nn.AvgPool2d, zennit.layer.Sum for a residual sum), give canonizers=[...] "
        "where the method takes them, or use a method that needs no hooks, such as "
        "InputXGradient."
    )


def through_zero(recording: Recording) -> bool:
    """Whether every activation is, at this point, a slope without a constant, as ReLU is."""
    one_to_one = (step.intercept for step in recording.steps if _one_to_one(step))
    return not any(bool(i.any()) for i in one_to_one if i is not None)


def _one_to_one(step: Step) -> bool:
    return step.form.kind in ("elementwise", "smooth")


def reach_of(composite: Any) -> Reaches:
    """What the hooks of a Zennit composite reach.

    A rule remembers the input of the last time its module ran. Batch-norm is reached where a
    canonizer has merged it, so that it does nothing any more; the pass rule on attention is none.

    Args:
        composite: A ``zennit.core.Composite`` whose rules depend on the module's type.
    """
    passes = library("zennit.rules", "baselines").Pass
    norms = library("zennit.types", "baselines").BatchNorm

    def reaches(module: nn.Module) -> Reach | None:
        hook = composite.module_map({}, "", module)
        if hook is None or isinstance(module, nn.MultiheadAttention):
            return None
        if not isinstance(hook, passes):
            return "once"
        return None if isinstance(module, norms) and not does_nothing(module) else "always"

    return reaches


def does_nothing(norm: nn.Module) -> bool:
    """Whether a batch-norm is the identity, as after a merge."""
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    mean, var = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    if weight is None or bias is None or mean is None or var is None:
        return False
    if float(getattr(norm, "eps", 0.0)):
        return False
    ones = bool((weight == 1).all()) and bool((var == 1).all())
    return ones and not bool(torch.stack([bias, mean]).any())
