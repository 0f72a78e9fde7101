"""What an experiment consists of, as frozen dataclasses without any configuration library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from biasmatters.types import Better, Reduction

Schedule = Literal["constant", "one_cycle"]
# What a metric may be called with: the network, a batch's tensors, or the method itself.
Need = Literal["model", "x", "labels", "maps", "target", "masks", "explain", "method"]
NEEDS: tuple[Need, ...] = get_args(Need)
OF_A_METHOD = {"maps", "explain", "method"}


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
class MetricSpec:
    """A metric, and what it is called with.

    Attributes:
        name: Of its figures in tables.
        part: Is called with ``needs`` as keywords, on a batch; returns one figure per picture, a
            curve, or several figures by name.
        needs: Keywords: ``model``; ``x, labels, maps, target, masks`` of the batch (``(N, ...)``
            each); ``explain``, the method on the network; ``method``, what binds it to another.
        better: ``high`` or ``low``, or empty where neither is the aim.
        images: How many of the pictures are measured; None for all.
    """

    name: str
    part: Part
    needs: tuple[Need, ...] = ("model", "x", "maps", "target")
    better: Better = ""
    images: int | None = None

    @property
    def of_a_method(self) -> bool:
        """Whether it measures a method, rather than the network alone."""
        return bool(OF_A_METHOD & set(self.needs))

    def settings(self) -> dict[str, Any]:
        """What its figures depend on."""
        return {**self.part.settings, "needs": list(self.needs), "images": self.images}


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
class RoarSpec:
    """Remove and retrain.

    Attributes:
        fractions: Shares of the pixels that are removed.
        train_images: Training images of each retrained network; None for all.
        test_images: Images that it is tested on; None for all.
    """

    fractions: tuple[float, ...]
    train_images: int | None
    test_images: int | None


@dataclass(frozen=True)
class ConvergenceSpec:
    """Whether relevance forgets where it came from: cosine similarity convergence.

    Attributes:
        images: How many test images.
        draws: Random relevance vectors for each image and start.
        seed: Of these vectors.
        starts: Layers at which relevance starts; None for all that have one below.
    """

    images: int
    draws: int
    seed: int
    starts: tuple[str, ...] | None


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
        metrics: Measures of maps, of methods and of networks.
        trainer: How to train.
        seeds: Seeds of the trainings.
        table1: Whether networks without bias are trained beside those with, and what w.x and b
            know is measured.
        roar: Whether and how networks are retrained without what each method points to.
        convergence: Whether and how relevance from random vectors is followed down.
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
    metrics: tuple[MetricSpec, ...]
    trainer: TrainerSpec
    seeds: tuple[int, ...]
    table1: bool
    roar: RoarSpec | None
    convergence: ConvergenceSpec | None
    images: int
    explain_batch_size: int
    chunk: int
    sheet_images: int
    store: Path
    reports: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method_metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics of maps and methods."""
        return tuple(metric for metric in self.metrics if metric.of_a_method)

    @property
    def network_metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics of networks alone."""
        return tuple(metric for metric in self.metrics if not metric.of_a_method)
