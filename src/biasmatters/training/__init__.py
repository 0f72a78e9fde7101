"""LightningModules that train, attribute and score, and the trainer that runs them."""

from biasmatters.training.classifier import Classifier
from biasmatters.training.explain import Explain, Explained
from biasmatters.training.fit import FitPlan, fit
from biasmatters.training.predict import predict
from biasmatters.training.sampler import EpochSampler
from biasmatters.training.score import Columns, Measure, Measured, Score, joined

__all__ = [
    "Classifier",
    "Columns",
    "EpochSampler",
    "Explain",
    "Explained",
    "FitPlan",
    "Measure",
    "Measured",
    "Score",
    "fit",
    "joined",
    "predict",
]
