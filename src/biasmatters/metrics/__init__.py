"""Metrics that see a callable and a map: pure functions, and torchmetrics classes on top."""

from biasmatters.metrics.ablation import BiasAblationAccuracy
from biasmatters.metrics.bias_margin import BiasAblationSuite
from biasmatters.metrics.bias_removal import BiasRemovalAccuracy
from biasmatters.metrics.complexity import ComplexityEntropy, Sparseness
from biasmatters.metrics.csc import CosineSimilarityConvergence
from biasmatters.metrics.faithfulness import Infidelity, SensitivityN, SensitivityNCurve
from biasmatters.metrics.irof import Irof
from biasmatters.metrics.keep_remove import Keep, Remove
from biasmatters.metrics.localization import MassInMask, PointingGame, RelevanceRank, TopKIoU
from biasmatters.metrics.perturbation import Deletion, Insertion
from biasmatters.metrics.pixel_flipping import MorfLerfGap, PixelFlippingLerf, PixelFlippingMorf
from biasmatters.metrics.random_logit import RandomLogit
from biasmatters.metrics.randomization import Mprt
from biasmatters.metrics.road import RoadLeRF, RoadMoRF
from biasmatters.metrics.robustness import AvgSensitivity, MaxSensitivity

__all__ = [
    "AvgSensitivity",
    "BiasAblationAccuracy",
    "BiasAblationSuite",
    "BiasRemovalAccuracy",
    "ComplexityEntropy",
    "CosineSimilarityConvergence",
    "Deletion",
    "Infidelity",
    "Insertion",
    "Irof",
    "Keep",
    "MassInMask",
    "MaxSensitivity",
    "MorfLerfGap",
    "Mprt",
    "PixelFlippingLerf",
    "PixelFlippingMorf",
    "PointingGame",
    "RandomLogit",
    "RelevanceRank",
    "Remove",
    "RoadLeRF",
    "RoadMoRF",
    "SensitivityN",
    "SensitivityNCurve",
    "Sparseness",
    "TopKIoU",
]
