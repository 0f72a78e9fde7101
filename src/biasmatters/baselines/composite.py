"""Zennit's composites of a rule for dense layers and one for convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from biasmatters.baselines.libraries import library

STABILIZER = 1e-6


def never_zero(z: Tensor) -> Tensor:
    """A denominator by which a unit that is 0 gets no relevance."""
    return z.masked_fill(z == 0, torch.inf)


def layered(dense: Any, convolution: Any, stabilizer: Any, named: Any = ()) -> Any:
    """A Zennit composite of a rule for dense layers and one for convolutions.

    Args:
        dense: Rule of ``nn.Linear``.
        convolution: Rule of convolutions.
        stabilizer: Of residual sums and average pooling.
        named: Pairs of module names and the rule that goes first there.
    """
    rules, types = library("zennit.rules", "baselines"), library("zennit.types", "baselines")
    norm = rules.Norm(stabilizer)
    layers = [
        (types.Activation, rules.Pass()),
        (library("zennit.layer", "baselines").Sum, norm),
        (types.AvgPool, norm),
        (types.BatchNorm, rules.Pass()),
        (types.Convolution, convolution),
        (nn.Linear, dense),
    ]
    composites = library("zennit.composites", "baselines")
    return composites.NameLayerMapComposite(name_map=list(named), layer_map=layers)
