"""Models rewritten for Zennit, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

from torch import Tensor, nn

from biasmatters.affine.recording import Recording
from biasmatters.baselines.coverage import times_run
from biasmatters.baselines.errors import MethodError
from biasmatters.baselines.libraries import library
from biasmatters.baselines.question import attributes_kept

# How far canonizers may change the output, relative to it: Zennit's merges leave 5e-6 each.
CHANGED = 1e-3


@contextmanager
def put_back(model: nn.Module) -> Iterator[None]:
    """A model's parameters, buffers, parts and attributes are afterwards as before.

    Zennit restores what it changed only if all of it succeeded: of a canonizer that fails half way,
    the merges already made would stay. Modules work out of place meanwhile: an in-place ReLU
    would overwrite the input that its hook remembers.
    """
    data = [(t, t.data) for t in chain(model.parameters(), model.buffers())]
    try:
        with attributes_kept(model):
            for module in model.modules():
                if getattr(module, "inplace", False) is True:
                    vars(module)["inplace"] = False
            yield
    finally:
        for tensor, values in data:
            if tensor.data_ptr() != values.data_ptr() or tensor.shape != values.shape:
                tensor.data = values


@contextmanager
def canonized(
    model: nn.Module, recording: Recording, canonizers: Sequence[Any] | None
) -> Iterator[bool]:
    """Apply canonizers; yields whether they changed anything.

    Args:
        model: The model, inside `put_back`.
        recording: Of the model as it is.
        canonizers: As in `LRP`.

    Raises:
        MethodError: For canonizers that do not fit the model.
    """
    batch_norm = library("zennit.types", "baselines").BatchNorm
    norms = [m for m in model.modules() if isinstance(m, batch_norm)]
    variances = [None if m.running_var is None else m.running_var.data_ptr() for m in norms]
    with ExitStack() as stack:
        changed = False
        for canonizer in _own(model, recording) if canonizers is None else canonizers:
            try:
                for instance in canonizer.apply(model):
                    stack.callback(instance.remove)
                    changed = True
            except Exception as error:
                raise MethodError(
                    f"{type(canonizer).__name__} does not fit this model ({error}); give "
                    "canonizers=[...] that do, or None for those found from its operations."
                ) from error
        for norm, was in zip(norms, variances, strict=True):
            if was is not None and norm.running_var.data_ptr() != was:
                norm.eps = 0.0
        yield changed


def _own(model: nn.Module, recording: Recording) -> list[Any]:
    """Canonizers of torchvision's residual blocks and of the batch-norms that can be merged."""
    blocks = library("zennit.torchvision", "baselines")
    merge = library("zennit.canonizers", "baselines").NamedMergeBatchNorm
    return [
        merge(_mergeable(model, recording)),
        blocks.ResNetBottleneckCanonizer(),
        blocks.ResNetBasicBlockCanonizer(),
    ]


def _mergeable(model: nn.Module, recording: Recording) -> list[tuple[tuple[str, ...], str]]:
    """Names of linear operations and the batch-norm that alone takes their output."""
    modules, runs = dict(model.named_modules()), times_run(recording)
    made = {id(step.output): step.node.call for step in recording.steps}
    takers = [id(t) for step in recording.steps for t in step.node.call.inputs]
    pairs: list[tuple[tuple[str, ...], str]] = []
    for step in recording.steps:
        call = step.node.call
        before = made.get(id(call.inputs[0]))
        if call.op != "batch_norm" or before is None or takers.count(id(before.output)) > 1:
            continue
        norm, linear = modules.get(call.name), modules.get(before.name)
        once = runs[call.name] == runs[before.name] == 1
        if once and _fits(norm, linear, before.output):
            pairs.append(((before.name,), call.name))
    return pairs


def _fits(norm: nn.Module | None, linear: nn.Module | None, between: Tensor) -> bool:
    """Whether Zennit can merge a batch-norm into the operation before it."""
    types = library("zennit.types", "baselines")
    if not isinstance(norm, types.BatchNorm) or not isinstance(linear, types.Linear):
        return False
    if getattr(norm, "weight", None) is None or getattr(norm, "running_mean", None) is None:
        return False
    if isinstance(linear, nn.Linear):
        return between.ndim == 2
    return not (isinstance(linear, types.ConvolutionTranspose) and linear.groups > 1)


def refuse_change(before: Recording, after: Recording) -> None:
    """Canonizers may rewrite a model, not change what it computes."""
    old, new = before.steps[-1].output.detach(), after.steps[-1].output.detach()
    limit = CHANGED * max(1.0, float(old.abs().max()) if old.numel() else 0.0)
    if old.shape != new.shape or not bool(((old - new).abs() <= limit).all()):
        raise MethodError(
            "The canonizers change what the model computes; give canonizers=[...] that fit it, or "
            "an empty list for none."
        )
