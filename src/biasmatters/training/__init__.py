"""LightningModules that train, attribute and score, and the trainer that runs them."""

from biasmatters.training.classifier import Classifier
from biasmatters.training.explain import Explain, Explained
from biasmatters.training.fit import FitPlan, fit
from biasmatters.training.predict import predict
from biasmatters.training.sampler import EpochSampler
from biasmatters.training.score import Score, Scored

__all__ = [
    "Classifier",
    "EpochSampler",
    "Explain",
    "Explained",
    "FitPlan",
    "Score",
    "Scored",
    "fit",
    "predict",
]
