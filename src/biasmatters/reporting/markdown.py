"""The report as Markdown, for terminals, diffs and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from biasmatters.paper import Deviation
from biasmatters.reporting.document import Document
from biasmatters.reporting.section import Section
from biasmatters.reporting.tables import Cell, Row, Table


def render_markdown(document: Document) -> str:
    """Lay the document out; pictures are linked from ``figures/``."""
    lines = [f"# {escape(document.title)}", ""]
    if document.subtitle:
        lines += [escape(document.subtitle), ""]
    lines += [f"- **{e.verdict.finding}**: {escape(text)}" for e, text in document.findings]
    lines += [
        f"- {escape(card.label)}: **{escape(card.value)}** ({escape(card.note)})"
        for card in document.cards
    ]
    for section in document.sections:
        lines += ["", *_section(section)]
    lines += ["", "## Sources", ""]
    lines += [f"- {escape(s.cite)}. <{s.url}>" for s in document.sources]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Take from a text what Markdown or HTML would read as markup."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", plain)


def _section(section: Section) -> Iterator[str]:
    yield f"## {escape(section.title)}"
    yield ""
    if section.lead:
        yield escape(section.lead)
        yield ""
    for table in section.tables:
        yield from _table(table)
    for picture in section.pictures:
        yield f"![{escape(picture.alt)}](figures/{picture.name}.png)"
        yield ""
        yield f"*{escape(picture.caption)}*"
        yield ""
    if section.assumptions:
        yield from _assumptions(section.assumptions)


def _table(table: Table) -> Iterator[str]:
    yield f"**{escape(table.caption)}**"
    yield ""
    heads = (f"{c.group}: {c.label}" if c.group else c.label for c in table.columns)
    yield f"| {' | '.join(escape(head) for head in heads)} |"
    yield f"|{'|'.join('---:' if c.numeric else '---' for c in table.columns)}|"
    for row in table.rows:
        texts = [_cell(cell) for cell in row.cells]
        texts += [""] * (len(table.columns) - len(texts))
        yield f"| {' | '.join(texts)} |"
    yield ""
    for row in table.rows:
        yield from _details(row)
    for note in table.notes:
        yield f"- {escape(note)}"
    yield ""


def _details(row: Row) -> Iterator[str]:
    if row.details:
        yield f"Verdicts for *{escape(row.cells[0].text)}*:"
        yield ""
        for line in row.details:
            yield f"- {escape(line.label)}: {escape(line.text)} → {line.finding}"
        yield ""


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.strong and cell.text else escape(cell.text)
    parts = [text, escape(cell.note), f"**{cell.finding}**" if cell.finding else ""]
    parts.append(f"({cell.provenance})" if cell.provenance else "")
    return " ".join(part for part in parts if part)


def _assumptions(entries: Sequence[Deviation]) -> Iterator[str]:
    yield "| topic | the paper | known | ours | setting |"
    yield "|---|---|---|---|---|"
    for d in entries:
        setting = f"`{d.setting}`" if d.setting else ""
        yield (
            f"| {escape(d.topic)} ({d.kind}) | {escape(d.paper)} | {d.provenance} "
            f"| {escape(d.ours)} | {setting} |"
        )
    yield ""
