"""The shape of the configuration; values are in conf/, and a key that is not here is an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class DataConfig:
    """What all data sets share, and the chosen ones."""

    root: str | None = None
    cache: str | None = None
    validation: int = MISSING
    train_limit: int | None = MISSING
    test_limit: int | None = MISSING
    normalizations: list[str] = MISSING
    explained: list[str] | None = MISSING
    sets: dict[str, Any] = field(default_factory=dict)


@dataclass
class BbpConfig:
    """What all methods that use BBp share."""

    temperature: float = MISSING
    fold: bool = MISSING
    fallback: str = MISSING


@dataclass
class TrainerConfig:
    """How networks are trained and run."""

    epochs: int = MISSING
    batch_size: int = MISSING
    eval_batch_size: int = MISSING
    explain_batch_size: int = MISSING
    chunk: int = MISSING
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: str = MISSING
    precision: str = MISSING
    deterministic: bool = MISSING
    accelerator: str = MISSING
    devices: int = MISSING
    strategy: str = MISSING
    workers: int = MISSING
    rates: dict[str, float] = field(default_factory=dict)


@dataclass
class LoggerConfig:
    """Where a run is mirrored to."""

    kind: str = MISSING
    mode: str = "offline"
    project: str = "biasmatters"
    entity: str | None = None
    folder: str = "runs"


@dataclass
class ScaleConfig:
    """The only difference between a test, a laptop and the real run."""

    name: str = MISSING
    epochs: int = MISSING
    validation: int = MISSING
    train_limit: int | None = MISSING
    test_limit: int | None = MISSING
    images: int = MISSING
    sheet_images: int = MISSING
    steps: int = MISSING
    integrated_gradients_steps: int = MISSING
    compared_images: int = MISSING
    noise_samples: int = MISSING
    coverings: int = MISSING
    masks: int = MISSING
    scored_images: int = MISSING
    probed_images: int = MISSING
    subsets: int = MISSING
    thorough_epochs: int = MISSING
    roar_images: int | None = MISSING
    converged_images: int = MISSING
    drawn_images: int = MISSING
    imagenet_images: int = MISSING
    imagenet_steps: int = MISSING
    explained: list[str] | None = MISSING
    seeds: list[int] = MISSING


@dataclass
class RoarConfig:
    """Remove and retrain."""

    fractions: list[float] = MISSING
    train_images: int | None = MISSING
    test_images: int | None = MISSING


@dataclass
class ConvergenceConfig:
    """Cosine similarity convergence."""

    images: int | None = MISSING
    draws: int = MISSING
    seed: int = MISSING
    starts: list[str] | None = MISSING


@dataclass
class PicturesConfig:
    """Pictures to explain with a known network."""

    files: list[str] = MISSING
    network: str = MISSING
    target: str = MISSING
    out: str = MISSING
    formats: list[str] = MISSING
    layers: bool = MISSING


@dataclass
class Config:
    """The root."""

    name: str = MISSING
    title: str = MISSING
    store: str = MISSING
    reports: str = MISSING
    table1: bool = MISSING
    roar: RoarConfig = field(default_factory=RoarConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    allow: list[str] = field(default_factory=list)
    data: DataConfig = field(default_factory=DataConfig)
    model: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    attribution: dict[str, Any] = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=dict)
    metric: dict[str, Any] = field(default_factory=dict)
    bbp: BbpConfig = field(default_factory=BbpConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)


def register() -> None:
    """Tell Hydra the schema that conf/config.yaml starts from."""
    ConfigStore.instance().store(name="schema", node=Config)
