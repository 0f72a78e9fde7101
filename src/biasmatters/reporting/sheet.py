"""The contact sheet: pictures beside their maps, to be looked at."""

# ruff: noqa: RUF001

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure

from biasmatters.reporting.content import ContactSheet, Pictures
from biasmatters.reporting.style import INK, MUTED, new_figure, wrap

MAP = "RdBu_r"
PERCENTILE = 99.5
MISSING = "#c9ced4"
# More methods than this stand below one another, in blocks side by side.
MANY, BLOCKS = 14, 2


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
    symmetric scale, printed below it. Many methods get one row each instead, and no numbers.

    Args:
        sheet: Pictures, maps and labels.

    Returns:
        The figure.
    """
    if len(sheet.maps) > MANY:
        return _blocks(sheet)
    n, methods = len(sheet.images), list(sheet.maps)
    side, label, head = 1.02, 1.05, 0.62
    width, height = label + side * (1 + len(methods)), head + n * (side + 0.17) + 0.42
    figure = new_figure(width, height, gap=0.01, pad=0.025)
    grid = figure.subplots(n, 1 + len(methods), squeeze=False)
    for row in range(n):
        draw_picture(grid[row, 0], sheet.images[row])
        text = wrap(sheet.labels[row], 13)
        grid[row, 0].set_ylabel(
            text, rotation=0, ha="right", va="center", fontsize=8.5, color=INK, labelpad=8
        )
        for column, method in enumerate(methods, 1):
            draw_map(grid[row, column], sheet.maps[method][row])
    for axes, title in zip(grid[0], ["Input", *methods], strict=True):
        axes.set_title(wrap(title, 12), fontsize=8.5, color=INK, pad=6, linespacing=1.15)
    colour_bar(figure, grid.ravel().tolist())
    return figure


def _blocks(sheet: ContactSheet) -> Figure:
    """One strip per method, the pictures across, in blocks side by side under the inputs."""
    n, methods = len(sheet.images), list(sheet.maps)
    rows = -(-len(methods) // BLOCKS)
    side, label = 0.66, 1.9
    width, height = BLOCKS * (label + n * side), (rows + 1) * (side + 0.03) + 0.7
    figure = new_figure(width, height, gap=0.0, pad=0.02)
    grid = figure.subplots(rows + 1, BLOCKS, squeeze=False)
    names = [wrap(text, 11) for text in sheet.labels]
    for block in range(BLOCKS):
        head, *cells = grid[:, block]
        _strip(head, "Input", [_gray(image) for image in sheet.images])
        for k, name in enumerate(names):
            place = ((k + 0.5) / n, 1.04)
            head.annotate(
                name, place, xycoords="axes fraction", ha="center", va="bottom",
                fontsize=5.5, color=MUTED,
            )  # fmt: skip
        shown = methods[block * rows : (block + 1) * rows]
        for axes, method in zip(cells, shown, strict=False):
            _strip(axes, method, [_coloured(values) for values in sheet.maps[method]])
        for axes in cells[len(shown) :]:
            axes.set_axis_off()
    colour_bar(figure, grid.ravel().tolist())
    return figure


def _gray(image: Pictures) -> Pictures:
    """``(H, W, 4)``."""
    flat = image if image.ndim == 3 and image.shape[2] == 3 else np.stack([image.squeeze()] * 3, -1)
    return np.dstack([np.clip(flat, 0, 1), np.ones(flat.shape[:2])])


def _coloured(values: Pictures) -> Pictures:
    """``(H, W, 4)`` of a map on its own scale, from its smallest value if that is positive."""
    values = values - max(0.0, float(np.nanmin(values))) if np.isfinite(values).any() else values
    limit = robust_scale(values) or 1.0
    shown = colormaps[MAP](Normalize(-limit, limit)(values))
    shown[~np.isfinite(values)] = to_rgba(MISSING)
    return np.asarray(shown)


def _strip(axes: Axes, name: str, pictures: list[Pictures]) -> None:
    """Pictures side by side with white between them, under one name."""
    height, width = pictures[0].shape[:2]
    gap = np.ones((height, max(1, width // 28), 4))
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    axes.imshow(np.concatenate(parts, 1), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_ylabel(
        wrap(name, 20), rotation=0, ha="right", va="center", fontsize=8, color=INK, labelpad=6
    )


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d5dae0")
        spine.set_linewidth(0.6)


def draw_picture(axes: Axes, image: Pictures) -> None:
    """A picture ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` in [0, 1], without axes."""
    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    axes.imshow(np.clip(flat, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(axes)


def draw_map(axes: Axes, values: Pictures) -> None:
    """A map ``(H, W)`` on its own symmetric scale, which is printed below it."""
    scale = robust_scale(values)
    axes.set_facecolor(MISSING)
    shown = np.ma.masked_invalid(values)
    limit = scale or 1.0
    axes.imshow(shown, cmap=MAP, vmin=-limit, vmax=limit, interpolation="nearest")
    _bare(axes)
    text = f"±{scale:.2g}" if scale else "all zero"
    axes.set_xlabel(text, fontsize=7, color=MUTED, labelpad=2)


def colour_bar(figure: Figure, shown: list[Axes], *, aspect: float = 55) -> None:
    """Say below the maps what red and blue mean."""
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), MAP),
        ax=shown,
        location="bottom",
        fraction=0.02,
        aspect=aspect,
        pad=0.012,
        shrink=0.42,
    )
    bar.set_ticks([-1, 0, 1], labels=["against the class (−s)", "0", "for the class (+s)"])
    bar.ax.tick_params(labelsize=7.5, colors=MUTED, length=0)
    bar.outline.set_visible(False)
