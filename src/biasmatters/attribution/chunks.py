"""Some samples at a time: inputs, targets and further arguments cut alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from biasmatters.affine.errors import InputError
from biasmatters.types import Target


def chunks(samples: int, size: int | None) -> Iterator[slice]:
    """Which samples are explained together; one empty chunk for none.

    Args:
        samples: N.
        size: Of a chunk, None for all.

    Raises:
        InputError: For a size that is no whole number of at least 1.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise InputError(
            f"internal_batch_size={size!r}: give a whole number of samples, at least 1, or None."
        )
    step = size or max(samples, 1)
    return (slice(start, start + step) for start in range(0, max(samples, 1), step))


def arguments(extra: Any) -> tuple[Any, ...]:
    """Further arguments of a model as a tuple: None for none, or a single one as it is."""
    if extra is None:
        return ()
    return extra if isinstance(extra, tuple) else (extra,)


def argument_rows(extra: tuple[Any, ...], rows: slice, samples: int) -> tuple[Any, ...]:
    """Further arguments for a chunk: tensors with one row for each sample are cut as well."""
    return tuple(
        value[rows]
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == samples
        else value
        for value in extra
    )


def target_rows(target: Target, rows: slice, samples: int) -> Target:
    """The part of a target that belongs to a chunk of samples.

    Raises:
        InputError: If it has neither one entry nor one for each sample.
    """
    if target is None or isinstance(target, int) or callable(target):
        return target
    try:
        whole = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        return target  # the recording refuses it in words
    if whole.ndim and whole.numel() != 1 and whole.shape[0] != samples:
        raise InputError(
            f"Got targets of shape {tuple(whole.shape)} for {samples} samples; "
            "give one class, or one for each sample."
        )
    return whole[rows] if whole.shape[:1] == (samples,) else target
