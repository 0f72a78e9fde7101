"""Stage compare: all rows of an experiment in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biasmatters.stages.rows import read_rows, write_rows


@dataclass(frozen=True)
class Compare:
    """Merges the rows of the stages before; each row learns its experiment and its stage.

    Attributes:
        experiment: Name of the experiment.
        keys: ``stage/key`` of every input, by role.
    """

    experiment: str
    keys: Mapping[str, str]

    stage = "compare"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Name of the experiment."""
        return self.experiment

    def settings(self) -> dict[str, Any]:
        """What the table depends on besides its inputs."""
        return {"experiment": self.experiment, "keys": dict(self.keys)}

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read all inputs' rows, write them as one table."""
        write_rows(
            folder,
            [
                replace(row, experiment=self.experiment, stage=self.keys[role])
                for role in sorted(inputs)
                for row in read_rows(inputs[role])
            ],
        )
