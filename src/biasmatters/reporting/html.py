"""The report as one self-contained page."""

from __future__ import annotations

import base64
from functools import cache
from importlib import resources
from itertools import groupby

from jinja2 import Environment, FunctionLoader, StrictUndefined

from biasmatters.reporting.document import Document
from biasmatters.reporting.tables import Table

BADGES = {
    "reproduced": ("good", "✓"),
    "better": ("better", "↑"),
    "order agrees": ("order", "≈"),
    "differs": ("differs", "≠"),
    "not run at this scale": ("none", "○"),
    "no published number": ("none", "·"),
}


def render_html(document: Document) -> str:
    """Lay the document out; every text is escaped, every picture is inside the page."""
    page = environment().get_template("report.html.j2")
    return page.render(document=document)


@cache
def environment() -> Environment:
    """The template environment, with escaping on for every template."""
    made = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["data_uri"] = data_uri
    made.filters["head_groups"] = head_groups
    made.globals["badges"] = BADGES
    return made


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def head_groups(table: Table) -> list[tuple[str, int]]:
    """The headings that neighbouring columns share, with how many share each."""
    runs = groupby(table.columns, key=lambda column: column.group)
    return [(group, len(list(columns))) for group, columns in runs]


def _read(name: str) -> str:
    folder = resources.files(__package__).joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
