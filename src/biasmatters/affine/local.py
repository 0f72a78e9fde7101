"""`local_affine`: the affine function that a network is around an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.certify import certify, linear_part
from biasmatters.affine.recording import Options, record
from biasmatters.affine.target import OutputSelector
from biasmatters.types import LocalAffine, Target


def local_affine(
    model: Callable[..., Any],
    x: Tensor | tuple[Tensor, ...],
    target: Target = None,
    *,
    additional_forward_args: Any = (),
    output: OutputSelector = None,
    eval_mode: bool = False,
    freeze_attention: bool = False,
) -> LocalAffine:
    """The local affine form ``f(x') = w . x' + b`` of a model at x, with a ledger of b.

    The weight is autograd's gradient. The ledger adds up ``G . intercept`` over all recorded
    operations and never looks at ``f - w . x``; the certificate compares the two. ``detach`` in
    the model cuts the dependence and is named; ``torch.no_grad`` does not change the function and
    cuts nothing.

    Args:
        model: A module in evaluation mode, or any function of tensors.
        x: ``(N, *features)``, or a tuple for several inputs.
        target: Class of each sample (int, list, tuple, array or tensor), None for the predicted
            class, or a callable that maps the output to ``(N,)``.
        additional_forward_args: Passed on to the model after x: a tuple, or a single argument.
        output: Which part of a structured output: an index, key, attribute or callable.
        eval_mode: Whether to evaluate a model in training mode under ``eval()``.
        freeze_attention: Whether attention weights count as constants, in
            ``F.scaled_dot_product_attention`` and ``nn.MultiheadAttention``; attention that a
            model writes out itself, ``softmax(q @ k.mT) @ v``, is not recognised as such.

    Returns:
        A `LocalAffine`; its figures are in units of the explained output.

    Raises:
        InputError: For inputs, outputs or targets that do not fit.
        TrainingModeError: For a model whose output is random or depends on the batch.
        UnsupportedOperationError: For an operation without an affine form, by name.

    Example:
        >>> import torch, biasmatters as bm
        >>> form = bm.local_affine(torch.nn.Linear(3, 2), torch.ones(1, 3), target=0)
        >>> form.certificate.verdict, form.certificate.passed
        ('exact', True)
    """
    inputs = x if isinstance(x, tuple) else (x,)
    extra = (
        additional_forward_args
        if isinstance(additional_forward_args, tuple)
        else (additional_forward_args,)
    )
    options = Options(extra, output, eval_mode, freeze_attention)
    recording = record(model, inputs, target, options)
    ledger = recording.ledger()
    bias = recording.output - linear_part(recording)
    certificate = certify(recording, ledger, bias)
    weights = tuple(w.to(i.dtype) for w, i in zip(recording.weights, inputs, strict=True))
    with torch.inference_mode(False):
        return LocalAffine(
            weight=weights if isinstance(x, tuple) else weights[0],
            bias=bias,
            output=recording.output,
            ledger=ledger,
            certificate=certificate,
        )
