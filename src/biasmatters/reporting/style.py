"""How figures look: one palette that colour-blind readers can tell apart, quiet axes."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, MUTED, GRID = "#16202a", "#5b6875", "#e4e8ed"
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#882255",
    "#999933",
)
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1.2)))  # type: ignore[assignment]
MARKERS = "osD^vP*Xh"
DPI = 200


def look(index: int) -> dict[str, object]:
    """Colour, dash and marker of the k-th method; no two of 27 are the same."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": DASHES[index // len(PALETTE) % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def quiet(axes: Axes) -> None:
    """Leave only what is read off an axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8, length=3)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def new_figure(width: float, height: float, gap: float = 0.05, pad: float = 0.04) -> Figure:
    """A figure of its own, in inches, that pyplot does not know.

    Args:
        width: In inches.
        height: In inches.
        gap: Space between panels, as a share of their size.
        pad: Space around each panel, in inches.
    """
    layout = ConstrainedLayoutEngine(wspace=gap, hspace=gap, w_pad=pad, h_pad=pad)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG without dates, so the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def wrap(text: str, width: int) -> str:
    """Break a heading at commas first, then at spaces."""
    lines: list[str] = []
    for part in text.split(", "):
        words: Sequence[str] = part.split(" ")
        line = ""
        for word in words:
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return "\n".join(lines)


def pdf(figure: Figure) -> bytes:
    """The figure as PDF without dates, so the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Producer": None})
    return stream.getvalue()
