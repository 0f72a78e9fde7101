"""Metrics as pure functions: a model and maps in, figures out."""

from biasmatters.metrics.functional._checks import ConstantMapWarning, MetricInputError
from biasmatters.metrics.functional.ablation import BiasAblation, bias_ablation
from biasmatters.metrics.functional.bias_margin import (
    BiasMargin,
    ablation_figures,
    bias_margin,
    with_mean_bias,
)
from biasmatters.metrics.functional.bias_removal import BiasRemoval, bias_removal
from biasmatters.metrics.functional.bias_suite import bias_suite
from biasmatters.metrics.functional.bootstrap import (
    Band,
    Difference,
    Interval,
    bootstrap_band,
    bootstrap_interval,
    paired_bootstrap,
)
from biasmatters.metrics.functional.comparison import Comparison, Pair, Place, compare_methods
from biasmatters.metrics.functional.complexity import complexity_entropy, sparseness
from biasmatters.metrics.functional.csc import Convergence, LayerConvergence, csc, random_similarity
from biasmatters.metrics.functional.curve import Curve
from biasmatters.metrics.functional.holm import holm
from biasmatters.metrics.functional.imputation import noisy_linear_imputation
from biasmatters.metrics.functional.infidelity import infidelity
from biasmatters.metrics.functional.irof import area_over, irof
from biasmatters.metrics.functional.keep_remove import keep_remove
from biasmatters.metrics.functional.localization import (
    mass_in_mask,
    pointing_game,
    relevance_rank,
    top_k_iou,
)
from biasmatters.metrics.functional.max_sensitivity import avg_sensitivity, max_sensitivity
from biasmatters.metrics.functional.mprt import ParameterRandomization, mprt
from biasmatters.metrics.functional.perturbation import deletion, insertion
from biasmatters.metrics.functional.pixel_flipping import morf_lerf_gap, pixel_flipping
from biasmatters.metrics.functional.random_logit import random_logit
from biasmatters.metrics.functional.ranking import pixel_rank
from biasmatters.metrics.functional.road import road
from biasmatters.metrics.functional.roar import without_top
from biasmatters.metrics.functional.sensitivity_n import sensitivity_n, sensitivity_n_curve
from biasmatters.metrics.functional.several import DeletionInsertion, deletion_insertion
from biasmatters.metrics.functional.similarity import cosine, spearman, ssim
from biasmatters.metrics.functional.standing import label_confidence, label_rank
from biasmatters.metrics.functional.substrate import blur, substrate
from biasmatters.metrics.functional.superpixels import superpixels

__all__ = [
    "Band",
    "BiasAblation",
    "BiasMargin",
    "BiasRemoval",
    "Comparison",
    "ConstantMapWarning",
    "Convergence",
    "Curve",
    "DeletionInsertion",
    "Difference",
    "Interval",
    "LayerConvergence",
    "MetricInputError",
    "Pair",
    "ParameterRandomization",
    "Place",
    "ablation_figures",
    "area_over",
    "avg_sensitivity",
    "bias_ablation",
    "bias_margin",
    "bias_removal",
    "bias_suite",
    "blur",
    "bootstrap_band",
    "bootstrap_interval",
    "compare_methods",
    "complexity_entropy",
    "cosine",
    "csc",
    "deletion",
    "deletion_insertion",
    "holm",
    "infidelity",
    "insertion",
    "irof",
    "keep_remove",
    "label_confidence",
    "label_rank",
    "mass_in_mask",
    "max_sensitivity",
    "morf_lerf_gap",
    "mprt",
    "noisy_linear_imputation",
    "paired_bootstrap",
    "pixel_flipping",
    "pixel_rank",
    "pointing_game",
    "random_logit",
    "random_similarity",
    "relevance_rank",
    "road",
    "sensitivity_n",
    "sensitivity_n_curve",
    "sparseness",
    "spearman",
    "ssim",
    "substrate",
    "superpixels",
    "top_k_iou",
    "with_mean_bias",
    "without_top",
]
