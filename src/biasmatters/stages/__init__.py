"""train, ablate, attribute, score, compare, report: a dataclass in, files out."""

from biasmatters.stages.experiment import Outcome, run_experiment
from biasmatters.stages.merge import merge_reports
from biasmatters.stages.spec import DataSpec, ExperimentSpec, MethodSpec, Part, TrainerSpec
from biasmatters.stages.store import Entry, Store, StoreError

__all__ = [
    "DataSpec",
    "Entry",
    "ExperimentSpec",
    "MethodSpec",
    "Outcome",
    "Part",
    "Store",
    "StoreError",
    "TrainerSpec",
    "merge_reports",
    "run_experiment",
]
