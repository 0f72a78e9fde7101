"""What goes into a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biasmatters.paper import Deviation, Published, load_deviations, load_published
from biasmatters.types import BiasmattersError, Result, Versus

Pictures = NDArray[np.floating]


class ReportError(BiasmattersError, ValueError):
    """Something handed to the report cannot be shown."""


@dataclass(frozen=True)
class ContactSheet:
    """Pictures beside their maps.

    Attributes:
        title: E.g. ``Fashion-MNIST, inputs in [0,1]``.
        images: ``(n, H, W)`` or ``(n, H, W, 3)`` in [0,1], as a person would look at them.
        maps: ``(n, H, W)`` by method, in units of the explained output.
        labels: One text per picture, e.g. ``sneaker``.
        note: What else has to be said, under the figure.
    """

    title: str
    images: Pictures
    maps: Mapping[str, Pictures]
    labels: Sequence[str]
    note: str = ""

    def __post_init__(self) -> None:
        shape = self.images.shape
        if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 4 and shape[3] not in (1, 3)):
            raise ReportError(
                f"sheet {self.title!r}: images have the shape {shape}; give (n, H, W) or "
                "(n, H, W, 3) in [0,1], channels last."
            )
        for name, values in self.maps.items():
            if values.shape != shape[:3]:
                raise ReportError(
                    f"sheet {self.title!r}: the maps of {name!r} have the shape {values.shape}, "
                    f"the pictures {shape[:3]}; sum the maps over channels first."
                )
        if len(self.labels) != len(self.images):
            raise ReportError(
                f"sheet {self.title!r}: {len(self.labels)} labels for {len(self.images)} pictures."
            )


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows; it computes nothing but the arithmetic of its tables.

    Attributes:
        title: Heading of the report.
        results: Rows in long format; accuracies and shares are fractions of 1. A metric may name
            a layer after a slash: ``row_entropy/conv1``.
        versus: Comparisons of methods, pair by pair.
        sheets: Contact sheets.
        environment: Versions, seeds, device, by name.
        timings: ``(stage, seconds, cached)`` in the order they ran.
        missing: ``(data, why)`` for data sets that could not be had.
        subtitle: One line under the heading, e.g. the scale and the command.
        assumptions: Assumptions and deviations.
        published: Published numbers.
    """

    title: str
    results: Sequence[Result]
    versus: Sequence[Versus] = ()
    sheets: Sequence[ContactSheet] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    timings: Sequence[tuple[str, float, bool]] = ()
    missing: Sequence[tuple[str, str]] = ()
    subtitle: str = ""
    assumptions: Sequence[Deviation] = field(default_factory=load_deviations)
    published: Published = field(default_factory=load_published)

    def __post_init__(self) -> None:
        for row in self.results:
            if row.metric.startswith("accuracy") and not 0 <= row.value <= 1:
                raise ReportError(
                    f"{row.data}, {row.metric}: accuracies are fractions of 1, got {row.value}."
                )
