"""The contact sheet: pictures beside their maps, to be looked at."""

# ruff: noqa: RUF001

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from biasmatters.reporting.content import ContactSheet, Pictures
from biasmatters.reporting.style import INK, MUTED, new_figure, wrap

MAP = "RdBu_r"
PERCENTILE = 99.5
MISSING = "#c9ced4"


def robust_scale(values: Pictures, percentile: float = PERCENTILE) -> float:
    """The symmetric colour limit of a map: a high percentile of its magnitude.

    Args:
        values: Any shape; NaN does not count.
        percentile: Between 0 and 100; the maximum is used where the percentile is 0.

    Returns:
        The limit, 0 only for a map without any non-zero entry.
    """
    size = np.abs(values[np.isfinite(values)])
    if not size.size:
        return 0.0
    limit = float(np.percentile(size, percentile))
    return limit if limit > 0 else float(size.max())


def sheet_figure(sheet: ContactSheet) -> Figure:
    """Draw one row per picture: the input, then its map by every method.

    Red speaks for the explained class, blue against it, white is zero; every map has its own
    symmetric scale, printed below it.

    Args:
        sheet: Pictures, maps and labels.

    Returns:
        The figure.
    """
    n, methods = len(sheet.images), list(sheet.maps)
    side, label, head = 1.02, 1.05, 0.62
    width, height = label + side * (1 + len(methods)), head + n * (side + 0.17) + 0.42
    figure = new_figure(width, height, gap=0.01, pad=0.025)
    grid = figure.subplots(n, 1 + len(methods), squeeze=False)
    for row in range(n):
        _picture(grid[row, 0], sheet.images[row])
        text = wrap(sheet.labels[row], 13)
        grid[row, 0].set_ylabel(
            text, rotation=0, ha="right", va="center", fontsize=8.5, color=INK, labelpad=8
        )
        for column, method in enumerate(methods, 1):
            _heat(grid[row, column], sheet.maps[method][row])
    for axes, title in zip(grid[0], ["Input", *methods], strict=True):
        axes.set_title(wrap(title, 12), fontsize=8.5, color=INK, pad=6, linespacing=1.15)
    _bar(figure, grid)
    return figure


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d5dae0")
        spine.set_linewidth(0.6)


def _picture(axes: Axes, image: Pictures) -> None:
    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    axes.imshow(np.clip(flat, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(axes)


def _heat(axes: Axes, values: Pictures) -> None:
    scale = robust_scale(values)
    axes.set_facecolor(MISSING)
    shown = np.ma.masked_invalid(values)
    limit = scale or 1.0
    axes.imshow(shown, cmap=MAP, vmin=-limit, vmax=limit, interpolation="nearest")
    _bare(axes)
    text = f"±{scale:.2g}" if scale else "all zero"
    axes.set_xlabel(text, fontsize=7, color=MUTED, labelpad=2)


def _bar(figure: Figure, grid: np.ndarray) -> None:
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), MAP),
        ax=grid.ravel().tolist(),
        location="bottom",
        fraction=0.02,
        aspect=55,
        pad=0.012,
        shrink=0.42,
    )
    bar.set_ticks([-1, 0, 1], labels=["against the class (−s)", "0", "for the class (+s)"])
    bar.ax.tick_params(labelsize=7.5, colors=MUTED, length=0)
    bar.outline.set_visible(False)
