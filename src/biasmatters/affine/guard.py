"""The user's model and inputs are checked before, and are as they were after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.affine.errors import InputError, TrainingModeError

_BATCH_DEPENDENT = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)

_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def refuse_training(op: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse a functional call that is random or uses the batch, before it does anything.

    Raises:
        TrainingModeError: Naming the operation and its module.
    """
    places = {"batch_norm": 5, "dropout": 2, "dropout1d": 2, "dropout2d": 2, "dropout3d": 2,
              "alpha_dropout": 2, "feature_alpha_dropout": 2, "rrelu": 3}  # fmt: skip
    if op not in places:
        return
    place, default = places[op], op in ("dropout", "dropout1d", "dropout2d", "dropout3d")
    training = args[place] if len(args) > place else kwargs.get("training", default)
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    if training and not ("dropout" in op and rate == 0):
        raise TrainingModeError(
            f"'{op}' in '{name}' runs in training mode, where its output is random or depends on "
            "the batch; call model.eval(), pass eval_mode=True, or give it training=self.training."
        )


def check_inputs(inputs: tuple[Tensor, ...]) -> None:
    """Refuse inputs that have no gradient or are not finite.

    Raises:
        InputError: Naming the input, its dtype or the first bad sample.
    """
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


def check_finite(values: Tensor, what: str) -> None:
    """Refuse nan and infinity.

    Raises:
        InputError: Naming the first bad sample.
    """
    if values.numel() and not bool(torch.isfinite(values).all()):
        lead = values.shape[0] if values.ndim else 1
        rows = torch.isfinite(values.detach()).reshape(lead, -1).all(1)
        samples = (~rows).nonzero().flatten().tolist()
        raise InputError(
            f"{what} is not finite at sample index {samples[0]} ({len(samples)} in all)."
        )


@contextmanager
def evaluation(model: object, eval_mode: bool) -> Iterator[None]:
    """Refuse a model in training mode, or put it in evaluation for a while.

    Args:
        model: Any callable; only modules have a mode.
        eval_mode: Whether to evaluate under ``eval()`` and restore each module's own mode.

    Raises:
        TrainingModeError: Naming the first module whose output is random or depends on the batch.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    training = [m for m in model.modules() if m.training]
    if training and not eval_mode:
        for name, module in model.named_modules():
            tracks = isinstance(module, _INSTANCE_NORMS) and module.track_running_stats
            if module.training and (tracks or isinstance(module, _BATCH_DEPENDENT)):
                raise TrainingModeError(
                    f"'{name}' ({type(module).__name__}) is in training mode, so the output is no "
                    "fixed function of one sample; call model.eval() or pass eval_mode=True."
                )
    try:
        if eval_mode:
            for module in training:
                module.training = False
        yield
    finally:
        for module in training:
            module.training = True
