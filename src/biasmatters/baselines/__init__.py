"""Other people's methods, behind the same protocol."""

from biasmatters.baselines.integrated_gradients import IntegratedGradients

__all__ = ["IntegratedGradients"]
