"""The user's model and inputs are checked before, and are as they were after."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.device import is_apart, read
from biasmatters.affine.errors import InputError, TrainingModeError
from biasmatters.affine.state import ModelState

_BATCH_DEPENDENT = (
    nn.modules.batchnorm._BatchNorm,  # noqa: SLF001 - the base that users derive from, too
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)

_COUNTING = (nn.modules.batchnorm._NormBase,)  # noqa: SLF001

# Numbers that take no longer one by one than a sum takes to begin.
FEW = 32

# Where the functional forms have their flag for training, and what it is if not given.
TRAINING: dict[str, tuple[int, bool]] = {
    "batch_norm": (5, False),
    "instance_norm": (5, True),
    "rrelu": (3, False),
    "alpha_dropout": (2, False),
    "feature_alpha_dropout": (2, False),
    "dropout": (2, True),
    "dropout1d": (2, True),
    "dropout2d": (2, True),
    "dropout3d": (2, True),
    "feature_dropout": (2, True),
}


def refuse_training(op: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse a functional call that is random or uses the batch, before it does anything.

    Raises:
        TrainingModeError: Naming the operation and its module.
    """
    if op not in TRAINING:
        return
    place, default = TRAINING[op]
    flag = "use_input_stats" if op == "instance_norm" else "training"
    training = args[place] if len(args) > place else kwargs.get(flag, kwargs.get("train", default))
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    # By the input's own statistics an instance norm is a fixed function; it must not keep them.
    statistics = args[1] if len(args) > 1 else kwargs.get("running_mean")
    harmless = ("dropout" in op and rate == 0) or (op == "instance_norm" and statistics is None)
    if training and not harmless:
        raise TrainingModeError(
            f"'{op}' in '{name}' runs in training mode, where its output is random or depends on "
            "the batch; call model.eval(), pass eval_mode=True, or give it training=self.training."
        )


def refuse_counting(module: nn.Module, name: str) -> None:
    """Refuse a norm in training mode before it counts a batch, wherever the model got it from.

    Raises:
        TrainingModeError: Naming the module.
    """
    if module.training and isinstance(module, _COUNTING) and module.track_running_stats:
        raise TrainingModeError(_in_training(name, module))


def _in_training(name: str, module: nn.Module) -> str:
    return (
        f"'{name}' ({type(module).__name__}) is in training mode, so the output is no fixed "
        "function of one sample; call model.eval() or pass eval_mode=True (which puts in "
        "evaluation what the model itself contains)."
    )


def check_inputs(inputs: tuple[Tensor, ...]) -> None:
    """Refuse inputs that have no gradient or are not finite.

    Raises:
        InputError: Naming the input, its dtype or the first bad sample.
    """
    if not inputs:
        raise InputError("There is no input; give a tensor (N, *features) or a tuple of them.")
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise InputError(f"Input {i} is a {type(x).__name__}; give a tensor (N, *features).")
        if not x.is_floating_point():
            raise InputError(
                f"Input {i} has dtype {x.dtype}; attributions need floating-point features. "
                "Convert pictures with .float() / 255, and explain token models by embeddings."
            )
        if x.ndim == 0:
            raise InputError(f"Input {i} is a scalar; its first axis must be the samples.")
        if x.shape[0] != inputs[0].shape[0]:
            raise InputError(
                f"Input {i} has {x.shape[0]} samples and input 0 has {inputs[0].shape[0]}."
            )
        check_finite(x, f"Input {i}")


def surely_finite(values: Tensor) -> bool:
    """Whether all entries are known to be finite: a few are looked at, and many added up.

    A sum takes a third of the time of looking at each; one too large says nothing.
    """
    if values.is_complex():
        return False
    if values.numel() <= FEW and values.layout == torch.strided and not values.is_nested:
        return all(map(math.isfinite, values.flatten().tolist()))
    return math.isfinite(float(values.detach().sum()))


def are_surely_finite(several: Sequence[Tensor]) -> list[bool]:
    """The same of several tensors, by one look at all of them where they lie apart."""
    if not all(is_apart(values) and not values.is_complex() for values in several):
        return list(map(surely_finite, several))
    return list(map(math.isfinite, read([values.sum() for values in several])))


def check_finite(values: Tensor, what: str) -> None:
    """Refuse nan and infinity.

    Raises:
        InputError: Naming the first bad sample.
    """
    if surely_finite(values):
        return
    if not bool(torch.isfinite(values).all()):
        lead = values.shape[0] if values.ndim else 1
        rows = torch.isfinite(values.detach()).reshape(lead, -1).all(1)
        samples = (~rows).nonzero().flatten().tolist()
        raise InputError(
            f"{what} is not finite at sample index {samples[0]} ({len(samples)} in all)."
        )


@contextmanager
def evaluation(model: object, eval_mode: bool) -> Iterator[ModelState]:
    """Refuse a model in training mode, or put it in evaluation; its buffers stay as they were.

    Args:
        model: Any callable; only modules have a mode.
        eval_mode: Whether to evaluate under ``eval()`` and restore each module's own mode.

    Yields:
        The buffers of the model, put back at the end.

    Raises:
        TrainingModeError: Naming the first module whose output is random or depends on the batch.
    """
    state = ModelState()
    training = [m for _, m in state.named(model) if m.training]
    if isinstance(model, nn.Module) and training and not eval_mode:
        _refuse_training_modules(model)
    try:
        if eval_mode:
            for module in training:
                module.training = False
        if isinstance(model, nn.Module):
            state.watch(model)
        yield state
    finally:
        state.restore()
        for module in training:
            module.training = True


def _refuse_training_modules(model: nn.Module) -> None:
    for name, module in model.named_modules():
        refuse_counting(module, name)
        if module.training and isinstance(module, _BATCH_DEPENDENT):
            raise TrainingModeError(_in_training(name, module))
