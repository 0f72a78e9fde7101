"""Metrics that see a callable and a map: pure functions, and torchmetrics classes on top."""

from biasmatters.metrics.ablation import BiasAblationAccuracy
from biasmatters.metrics.perturbation import Deletion, Insertion

__all__ = ["BiasAblationAccuracy", "Deletion", "Insertion"]
