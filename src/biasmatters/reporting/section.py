"""A chapter of a report, with its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from biasmatters.paper import Deviation
from biasmatters.reporting.tables import Table


@dataclass(frozen=True)
class Picture:
    """A figure as PNG with what it shows in words."""

    name: str
    caption: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A chapter: words, tables, pictures, in this order."""

    anchor: str
    title: str
    lead: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    assumptions: tuple[Deviation, ...] = ()
