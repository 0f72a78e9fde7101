"""Progress bars, shown on a terminal only."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def progress_bar(*, in_bytes: bool) -> Progress:
    """A bar on standard error that counts bytes or things and vanishes when done."""
    count: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
