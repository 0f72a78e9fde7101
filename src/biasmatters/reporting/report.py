"""Write a report into a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from biasmatters.reporting.content import ReportContent
from biasmatters.reporting.document import build
from biasmatters.reporting.html import render_html
from biasmatters.reporting.markdown import render_markdown
from biasmatters.types import Result, Versus


def write_report(folder: Path, content: ReportContent) -> None:
    """Write ``index.html``, ``report.md``, ``results.csv`` and ``figures/*.png``.

    Where methods were compared there is a ``versus.csv`` as well.

    The page is self-contained; the figures lie beside it for papers and for the tracker. The same
    content gives the same bytes. Pictures of an earlier report are removed.

    Args:
        folder: Made if it does not exist.
        content: What to show.
    """
    document = build(content)
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.glob("*.png"):
        old.unlink()
    for section in document.sections:
        for picture in section.pictures:
            (figures / f"{picture.name}.png").write_bytes(picture.png)
    write_csv(folder / "results.csv", Result, content.results)
    if content.versus:
        write_csv(folder / "versus.csv", Versus, content.versus)
    (folder / "report.md").write_text(render_markdown(document), encoding="utf-8")
    (folder / "index.html").write_text(render_html(document), encoding="utf-8")


def write_csv(
    path: Path, kind: type[Result | Versus], rows: Sequence[Result] | Sequence[Versus]
) -> None:
    """Write rows in long format, one column per field of their kind."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(kind)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
