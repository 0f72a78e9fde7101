"""A page of explained pictures: one line of figures each, and their drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from biasmatters.reporting.html import environment
from biasmatters.reporting.labels import number, scientific
from biasmatters.reporting.tables import Cell, Column, Row, Table


@dataclass(frozen=True)
class Entry:
    """One explained picture.

    Attributes:
        name: Of its results.
        guess: Name of the explained class.
        probability: Of that class.
        output: The logit f(x).
        linear: w.x.
        bias: b.
        share: ``b / f(x)``, None where f(x) is 0.
        certificate: How exact the split is.
        residual: Of the bias map, over ``1 + |b|``.
        figures: Drawings beside the page, relative to it.
    """

    name: str
    guess: str
    probability: float
    output: float
    linear: float
    bias: float
    share: float | None
    certificate: str
    residual: float
    figures: Sequence[str] = ()

    @property
    def links(self) -> list[str]:
        """The drawings as addresses."""
        return [quote(figure) for figure in self.figures]


@dataclass(frozen=True)
class Gallery:
    """All pictures of one call.

    Attributes:
        title: Heading.
        subtitle: One line below it.
        entries: The pictures.
        failures: What is wrong with those that were left out.
    """

    title: str
    subtitle: str
    entries: Sequence[Entry]
    failures: Sequence[str] = ()

    @property
    def table(self) -> Table:
        """One row a picture."""
        heads = ("picture", "class", "probability", "f", "w·x", "b", "b / f", "certificate")
        columns = [Column(text, numeric=2 <= k <= 6) for k, text in enumerate(heads)]
        columns.append(Column("residual", numeric=True))
        return Table("Pictures", tuple(columns), tuple(_row(entry) for entry in self.entries))


def gallery_page(gallery: Gallery) -> str:
    """The page; every text is escaped, drawings are loaded as they come into view."""
    return environment().get_template("gallery.html.j2").render(gallery=gallery)


def _row(entry: Entry) -> Row:
    share = "–" if entry.share is None else f"{number(100 * entry.share, 0)} %"  # noqa: RUF001
    texts = (
        entry.guess,
        f"{100 * entry.probability:.1f} %",
        *(number(value, 2) for value in (entry.output, entry.linear, entry.bias)),
        share,
        entry.certificate,
        scientific(entry.residual),
    )
    return Row((Cell(entry.name), *(Cell(text) for text in texts)))
