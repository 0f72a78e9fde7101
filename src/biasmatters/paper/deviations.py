"""What is assumed about the paper and where we do something else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

import yaml

from biasmatters.paper.published import PaperDataError, Provenance


@dataclass(frozen=True)
class Deviation:
    """One assumption or deviation.

    Attributes:
        id: Unique name.
        kind: ``assumption`` (the paper is not known well enough) or ``deviation`` (known, and
            done differently).
        topic: What it is about, in a few words.
        paper: What the paper does, as far as is known.
        provenance: How that is known; ``unknown`` where there is nothing to know it by.
        ours: What we do.
        setting: Configuration key that changes it, or empty.
    """

    id: str
    kind: Literal["assumption", "deviation"]
    topic: str
    paper: str
    provenance: Provenance | Literal["unknown"]
    ours: str
    setting: str = ""


@cache
def load_deviations() -> tuple[Deviation, ...]:
    """Read the list that ships with the package.

    Raises:
        PaperDataError: If an entry is incomplete or unknown.
    """
    text = resources.files(__package__).joinpath("deviations.yaml").read_text(encoding="utf-8")
    try:
        found = tuple(Deviation(**entry) for entry in yaml.safe_load(text))
    except TypeError as error:
        raise PaperDataError(f"deviations.yaml: {error}.") from error
    for entry in found:
        if entry.provenance not in (*get_args(Provenance), "unknown"):
            raise PaperDataError(f"{entry.id}: provenance {entry.provenance!r} is not one.")
        if entry.kind not in ("assumption", "deviation"):
            raise PaperDataError(f"{entry.id}: kind must be assumption or deviation.")
    return found
