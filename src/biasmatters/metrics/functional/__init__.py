"""Metrics as pure functions: a model and maps in, figures out."""

from biasmatters.metrics.functional._checks import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.ablation import BiasAblation, bias_ablation
from biasmatters.metrics.functional.bootstrap import (
    Band,
    Difference,
    Interval,
    bootstrap_band,
    bootstrap_interval,
    paired_bootstrap,
)
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.perturbation import deletion, insertion
from biasmatters.metrics.functional.ranking import pixel_rank
from biasmatters.metrics.functional.substrate import blur, substrate

__all__ = [
    "Band",
    "BiasAblation",
    "ConstantMapWarning",
    "Curve",
    "Difference",
    "Interval",
    "MetricInputError",
    "bias_ablation",
    "blur",
    "bootstrap_band",
    "bootstrap_interval",
    "deletion",
    "insertion",
    "paired_bootstrap",
    "pixel_rank",
    "substrate",
]
