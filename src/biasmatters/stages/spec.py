"""What an experiment consists of, as frozen dataclasses without any configuration library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from biasmatters.types import Reduction

Schedule = Literal["constant", "one_cycle"]


@dataclass(frozen=True)
class Part:
    """A configured piece: its plain settings, which are hashed and written, and how to make it.

    Attributes:
        name: Short name, used in file names and tables.
        settings: Plain values only (numbers, strings, lists, dictionaries).
        make: Makes the piece; loads the code it needs only then.
    """

    name: str
    settings: Mapping[str, Any]
    make: Callable[..., Any] = field(compare=False, repr=False)


@dataclass(frozen=True)
class DataSpec:
    """A data set and the network that is trained on it.

    Attributes:
        source: Makes the data set from ``normalization=...``; its settings name no folder, since
            where files lie must not change a result.
        model: Makes the network from ``in_channels, image_size, num_classes, bias``.
    """

    source: Part
    model: Part

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.source.name


@dataclass(frozen=True)
class MethodSpec:
    """An attribution method, made from a model.

    Attributes:
        method: Name of the method.
        rule: Name of BBp's rule, empty for other methods.
        part: Makes the attributor from a model.
        reduction: How its maps over channels become one map, as in `reduce_channels`.
    """

    method: str
    rule: str
    part: Part
    reduction: Reduction = "sum"

    @property
    def name(self) -> str:
        """Method and rule in one word, for file names."""
        return f"{self.method}-{self.rule}" if self.rule else self.method


@dataclass(frozen=True)
class TrainerSpec:
    """How a network is trained and run.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images in a training step.
        eval_batch_size: Images in a step without training.
        optimizer: Makes the optimiser from parameters.
        schedule: Course of the learning rate.
        precision: Lightning's name of the number format.
        deterministic: Whether PyTorch is asked for deterministic kernels.
        accelerator: Lightning's name of the device kind.
        devices: How many devices.
        strategy: Lightning's name of the strategy.
        workers: Processes that load data.
        rates: Learning rates of single networks by name, in place of the optimiser's.
    """

    epochs: int
    batch_size: int
    eval_batch_size: int
    optimizer: Part
    schedule: Schedule = "one_cycle"
    precision: str = "32-true"
    deterministic: bool = True
    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    workers: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)

    def optimizer_of(self, model: str) -> Callable[..., Any]:
        """Makes the optimiser of a network from its parameters."""
        if model not in self.rates:
            return self.optimizer.make
        return partial(self.optimizer.make, lr=self.rates[model])

    def settings(self, model: str) -> dict[str, Any]:
        """The values that a trained network depends on."""
        rate = {"lr": self.rates[model]} if model in self.rates else {}
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": {**self.optimizer.settings, **rate},
            "schedule": self.schedule,
            "precision": self.precision,
            "devices": self.devices,
        }


@dataclass(frozen=True)
class ExperimentSpec:
    """Everything that one run of the pipeline needs.

    Attributes:
        name: Name of the experiment; its report goes to ``reports/<name>/``.
        title: Heading of the report.
        scale: ``smoke``, ``small`` or ``paper``; written into the report, not into any key.
        data: Data sets, each with its network.
        normalizations: Input scalings that networks are trained with.
        explained: Those of them whose networks are attributed and scored.
        methods: Attribution methods.
        curves: Scores of maps; each is called with ``(model, x, maps, target)``.
        trainer: How to train.
        seeds: Seeds of the trainings.
        table1: Whether networks without bias are trained beside those with, and what w.x and b
            know is measured.
        images: How many test images are explained.
        explain_batch_size: How many images are explained at once.
        chunk: How many images are attributed between two writes to the disk.
        sheet_images: How many images the contact sheet shows.
        store: Folder of the stages' results.
        reports: Folder that reports are published to.
        config: The whole configuration as plain values, for the record.
    """

    name: str
    title: str
    scale: str
    data: tuple[DataSpec, ...]
    normalizations: tuple[str, ...]
    explained: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    curves: tuple[Part, ...]
    trainer: TrainerSpec
    seeds: tuple[int, ...]
    table1: bool
    images: int
    explain_batch_size: int
    chunk: int
    sheet_images: int
    store: Path
    reports: Path
    config: Mapping[str, Any] = field(default_factory=dict)
