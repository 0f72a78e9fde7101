"""Where the bias that single layers put in lands on the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from biasmatters.affine.axis import row_sums
from biasmatters.affine.errors import InputError
from biasmatters.affine.walk import walk
from biasmatters.attribution.bias_backprop import BiasBackprop
from biasmatters.attribution.propagation import CertifiedPropagation
from biasmatters.types import LedgerRow


@dataclass(frozen=True)
class Landing:
    """The bias of neighbouring layers, brought down to the input by itself.

    Attributes:
        layers: Labels of the operations that put it in, in the order of execution.
        injected: ``(N,)`` how much they put in, in units of the explained output.
        map: Where it lands, like x; sums to ``injected`` (less what the fallback drops).
    """

    layers: tuple[str, ...]
    injected: Tensor
    map: Tensor


def landings(
    method: BiasBackprop, found: CertifiedPropagation, parts: int = 6
) -> Iterator[Landing]:
    """Bias back-propagation layer by layer: neighbouring layers share a map.

    For a rule that does not look at the bias itself (all of ours but ``softmax_signed``) the
    downward map is linear, so that the maps add up to that of `BiasBackprop`.

    Args:
        method: The method that made ``found``.
        found: What its ``certified`` returned, with ``keep=True``, for one input.
        parts: In how many parts the layers with a bias are cut, of nearly as many layers each;
            every part costs one walk.

    Yields:
        The parts, from the input upwards.

    Raises:
        InputError: If there is no part to make, or nothing to make it from.
    """
    if parts < 1:
        raise InputError(f"parts={parts}: give 1 or more.")
    if found.recording is None:
        raise InputError("The recording was let go; call certified(..., keep=True).")
    rows = [row for row in found.ledger if bool((row.share != 0).any())]
    for part in _cut(rows, parts):
        names = tuple(row.name for row in part)
        result = walk(
            found.recording,
            list(found.recording.steps),
            method.rule.split,
            fold=method.fold,
            fallback=method.fallback,
            put_in=frozenset(names),
        )
        injected = torch.stack([row.share for row in part]).sum(0)
        yield Landing(names, injected, result.maps[0])


def gap(whole: Tensor, parts: Sequence[Landing]) -> Tensor:
    """How far maps of parts are from adding up: a share of the whole map's absolute sum.

    Args:
        whole: The map of all layers together, ``(N, *features)``.
        parts: All of `landings`.

    Returns:
        ``(N,)``, round-off for a linear downward map.
    """
    together = torch.stack([part.map for part in parts]).sum(0)
    scale = row_sums(whole.abs()).clamp_min(torch.finfo(whole.dtype).tiny)
    return row_sums((whole - together).abs()) / scale


def _cut(rows: Sequence[LedgerRow], parts: int) -> Iterator[Sequence[LedgerRow]]:
    """Runs of nearly equal length, none of them empty."""
    count = min(parts, len(rows))
    ends = [round(i * len(rows) / count) for i in range(count + 1)] if count else []
    for start, end in pairwise(ends):
        yield rows[start:end]
