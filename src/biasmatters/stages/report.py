"""Stage report: the pages that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from biasmatters.attribution import reduce_channels
from biasmatters.stages.environment import environment
from biasmatters.stages.maps import MAPS, read_maps
from biasmatters.stages.rows import read_rows, read_versus
from biasmatters.stages.source import Source
from biasmatters.stages.spec import MethodSpec

if TYPE_CHECKING:
    import numpy as np

    from biasmatters.reporting import ContactSheet
    from biasmatters.reporting.content import Pictures

Timing = tuple[str, float, bool]
PAGES = "report"


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: one data set under one normalisation, all methods.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        roles: Name of the input that holds each method's maps.
    """

    source: Source
    normalization: str
    roles: Mapping[str, MethodSpec]


@dataclass(frozen=True)
class Report:
    """Writes ``report/`` with index.html, report.md, results.csv and figures.

    Attributes:
        experiment: Name of the experiment.
        title: Heading.
        scale: Named in the report.
        seeds: Seeds of the trainings.
        sheets: Which contact sheets to draw.
        ranks: Names of the inputs that hold comparisons of methods.
        sheet_images: Images on a sheet.
        missing: Data sets that could not be had, and why.
        notes: Where the data was found and what is to be known about it, by data set; its
            content is in the keys of the inputs, so this is no part of the key.
        timings: What each stage took; filled while the stages run, so no part of the key.
    """

    experiment: str
    title: str
    scale: str
    seeds: tuple[int, ...]
    sheets: tuple[Sheet, ...]
    ranks: tuple[str, ...]
    sheet_images: int
    missing: tuple[tuple[str, str], ...]
    notes: Mapping[str, str]
    timings: list[Timing]

    stage = "report"
    version = 5
    resumable = False

    def slug(self) -> str:
        """Name of the experiment."""
        return self.experiment

    def settings(self) -> dict[str, Any]:
        """What the pages depend on besides the table and the maps."""
        return {
            "experiment": self.experiment,
            "title": self.title,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "sheet_images": self.sheet_images,
            "missing": [name for name, _ in self.missing],
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``table`` and the maps, write the pages."""
        from biasmatters.reporting import ReportContent, write_report

        content = ReportContent(
            title=self.title,
            results=read_rows(inputs["table"]),
            versus=[row for role in self.ranks for row in read_versus(inputs[role])],
            sheets=[self._draw(sheet, inputs) for sheet in self.sheets],
            environment=self._environment(),
            timings=list(self.timings),
            missing=list(self.missing),
        )
        write_report(folder / PAGES, content)

    def _environment(self) -> dict[str, str]:
        found = {**environment(), "scale": self.scale}
        found["seeds"] = ", ".join(map(str, self.seeds))
        return {**found, **{f"data {name}": note for name, note in self.notes.items()}}

    def _draw(self, sheet: Sheet, inputs: Mapping[str, Path]) -> ContactSheet:
        from biasmatters.reporting import ContactSheet, method_name

        data = sheet.source.load(sheet.normalization)
        found = {role: read_maps(inputs[role] / MAPS) for role in sheet.roles}
        first = next(iter(found.values()))
        ids, target = first["image"][: self.sheet_images], first["target"][: self.sheet_images]
        batch = data.test.select(ids).batch(torch.arange(len(ids)))
        labels = [
            f"{data.classes[int(label)]}, predicted {data.classes[int(guess)]}"
            for label, guess in zip(batch.labels, target, strict=True)
        ]
        return ContactSheet(
            title=f"{data.name}, inputs {sheet.normalization}",
            images=_picture(data.normalization.invert(batch.images)),
            maps={
                method_name(method.method, method.rule): self._maps(found[role], method)
                for role, method in sheet.roles.items()
            },
            labels=labels,
        )

    def _maps(self, found: Mapping[str, torch.Tensor], method: MethodSpec) -> Pictures:
        shown: Pictures = reduce_channels(
            found["maps"][: self.sheet_images], method.reduction
        ).numpy()
        return shown


def _picture(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """``(n, H, W)`` for grey, ``(n, H, W, 3)`` for colour, in [0, 1]."""
    x = x.clamp(0, 1)
    picture: np.ndarray[Any, Any] = (x[:, 0] if x.shape[1] == 1 else x.permute(0, 2, 3, 1)).numpy()
    return picture
