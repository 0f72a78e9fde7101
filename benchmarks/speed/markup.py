"""Markdown: cells, lines, tables."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is text and whose others are figures."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return [line(head), line(rule), *(line(cells) for cells in lines), ""]


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Text that ends no cell and starts no markup."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\`*_[]|":
        plain = plain.replace(mark, f"\\{mark}")
    return plain


def short(figure: str) -> str:
    """Three digits, or all before the point."""
    value = float(figure)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
