"""Copy a finished report to where people look for it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biasmatters.stages.files import swap_in, write_bytes, write_yaml
from biasmatters.stages.report import PAGES
from biasmatters.stages.store import Entry

MARK = ".made"


def publish(entry: Entry, place: Path, config: Mapping[str, Any]) -> Path:
    """Put the report's pages at ``place``, unless just these are there already.

    Returns:
        The page to open.
    """
    page, mark = place / "index.html", place / MARK
    if not (page.exists() and mark.exists() and mark.read_text(encoding="utf-8") == entry.made):
        new = place.with_name(f".new-{place.name}")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(entry.folder / PAGES, new)
        write_yaml(new / "config.yaml", dict(config))
        write_bytes(new / MARK, entry.made.encode())
        swap_in(new, place)
    return page
