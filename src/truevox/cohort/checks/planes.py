"""Drawing: three orthogonal planes through a point of the patient, in mm; of a picture one, in pixels.

Colours: Okabe and Ito (2008), which stay apart for colour-blind readers.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from truevox.files import atomic_path
from truevox.space import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BAD", "MASK", "OTHER", "REFERENCE", "Layer", "Row", "draw_rows", "plain_name"]

MASK, REFERENCE, OTHER, BAD = "#F0E442", "#56B4E9", "#E69F00", "#D55E00"
_PIXELS = 300
_DPI = 100
_WIDTH = 11.0
_OUTSIDE = (0.13, 0.13, 0.18)
_PLANES = ((0, 1), (0, 2), (1, 2))
_ENDS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Layer:
    """Voxels (I, J, K) on a grid, drawn as grey values or as outlines."""

    voxels: NDArray
    grid: Grid

    def at(self, world: NDArray[np.float64]) -> tuple[NDArray, NDArray[np.bool_]]:
        """The nearest voxels of world positions (..., 3), and which positions lie inside."""
        index = np.floor(self.grid.to_index(world) + 0.5).astype(np.int64)
        inside = np.all((index >= 0) & (index < self.grid.shape), axis=-1)
        index[~inside] = 0
        return self.voxels[index[..., 0], index[..., 1], index[..., 2]], inside

    def middle(self, mask: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """World position of the mask's voxel nearest to its centroid; without one, of the middle voxel."""
        if mask is None or not mask.any():
            return self.grid.to_world([n // 2 for n in self.grid.shape])
        points = np.argwhere(mask)
        away = ((points - points.mean(0)) ** 2).sum(1)
        return self.grid.to_world(points[away.argmin()])


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a picture: a scan in grey, outlines of masks, outlines of the boxes of grids.

    Parameters
    ----------
    caption : str
    scan : Layer
    centre : (3,) world position
        Where the planes cross.
    masks : sequence of (Layer, colour, what it is)
        Drawn where they are not zero.
    boxes : sequence of (Grid, colour, what it is)
    """

    caption: str
    scan: Layer
    centre: NDArray[np.float64]
    masks: Sequence[tuple[Layer, str, str]] = ()
    boxes: Sequence[tuple[Grid, str, str]] = ()


def draw_rows(path: Path, title: str, text: str, rows: Sequence[Row]) -> None:
    """Write a PNG, whole or not at all: a title, a few lines of text, and the rows of planes.

    Raises
    ------
    FileError
        If it can't be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 125) or [""]][:9]
    # Names are text, whatever they hold: no TeX, no mathematics between dollars.
    with matplotlib.rc_context({"text.usetex": False, "text.parse_math": False}):
        head = 0.45 + 0.19 * len(lines)
        height = 3.9 * len(rows) + head
        figure = Figure(figsize=(_WIDTH, height))
        grid = figure.add_gridspec(
            len(rows), 3, left=0.06, right=0.985, bottom=0.4 / height, top=1 - (head + 0.35) / height,
            hspace=0.25, wspace=0.24,
        )  # fmt: skip
        figure.text(0.02, 1 - 0.12 / height, title[:120], va="top", fontsize=12, weight="bold")
        figure.text(
            0.02, 1 - 0.4 / height, "\n".join(lines), va="top", fontsize=8.5, family="DejaVu Sans Mono"
        )
        for k, row in enumerate(rows):
            _draw_row([figure.add_subplot(grid[k, p]) for p in range(3)], row)
        with atomic_path(path) as temporary, warnings.catch_warnings():
            # A name in a script that the font lacks is drawn as boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            figure.savefig(temporary, format="png", dpi=_DPI)


def _draw_row(axes: Sequence[Axes], row: Row) -> None:
    from matplotlib.lines import Line2D

    stage = row.scan.grid.reorient()
    low, high = _extent(stage, [box for box, _, _ in row.boxes])
    centre = stage.to_index(row.centre)
    pixel = float(((high - low) * stage.spacing).max()) / _PIXELS
    seen = []
    for u, v in _PLANES:
        index = _plane(low, high, centre, stage.spacing, pixel, u, v)
        seen.append((stage.to_world(index), *row.scan.at(stage.to_world(index))))
    window = _window([values[inside] for _, values, inside in seen])
    for axis, (u, v), (world, values, inside) in zip(axes, _PLANES, seen, strict=True):
        mm = [float(end[a] * stage.spacing[a]) for a in (u, v) for end in (low, high)]
        extent = (mm[0], mm[1], mm[2], mm[3])
        axis.imshow(_coloured(values, inside, window), origin="lower", extent=extent, interpolation="nearest")
        for layer, colour, _ in row.masks:
            there, within = layer.at(world)
            _outline(axis, (there != 0) & within, extent, colour, "-")
        for (box, colour, _), style in zip(row.boxes, ("-", "--"), strict=False):
            _outline(axis, Layer(np.empty(box.shape, bool), box).at(world)[1], extent, colour, style)
        axis.axvline(centre[u] * stage.spacing[u], color="white", linewidth=0.4, alpha=0.5)
        axis.axhline(centre[v] * stage.spacing[v], color="white", linewidth=0.4, alpha=0.5)
        if stage.unit == "mm":
            axis.set_xlabel(f"{_ENDS[u][0]} to {_ENDS[u][1]} (mm)", fontsize=8)
            axis.set_ylabel(f"{_ENDS[v][0]} to {_ENDS[v][1]} (mm)", fontsize=8)
        else:
            # A picture as it is stored: its first column is at the left.
            axis.set_xlabel(f"{stage.shape[u]} {stage.unit}", fontsize=8)
            axis.set_ylabel(f"{stage.shape[v]} {stage.unit}", fontsize=8)
            axis.set(xticks=[], yticks=[])
            axis.set_visible((u, v) == _PLANES[0])
            axis.invert_xaxis()
        axis.tick_params(labelsize=7)
    axes[0].set_title(row.caption[:100], fontsize=9, loc="left")
    named = {what: colour for _, colour, what in (*row.masks, *row.boxes)}
    if named:
        lines = [Line2D([], [], color=colour, linewidth=2) for colour in named.values()]
        axes[2].legend(
            lines, [n[:60] for n in named], loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=7,
            frameon=False, borderaxespad=0.2,
        )  # fmt: skip


def _extent(stage: Grid, boxes: Sequence[Grid]) -> tuple[NDArray, NDArray]:
    """Indices of the stage between which all boxes lie; of one far away, as far as one stage beyond."""
    size = np.array(stage.shape, float)
    low, high = np.full(3, -0.5), size - 0.5
    for box in boxes:
        corners = stage.to_index(box.corners)
        low = np.clip(np.minimum(low, corners.min(0)), -size - 0.5, None)
        high = np.clip(np.maximum(high, corners.max(0)), None, 2 * size - 0.5)
    margin = 0.03 * float(((high - low) * stage.spacing).max()) / stage.spacing
    return low - margin, high + margin


def _plane(
    low: NDArray, high: NDArray, centre: NDArray, spacing: NDArray, pixel: float, u: int, v: int
) -> NDArray[np.float64]:
    """Indices (rows along v, columns along u, 3) of the square pixels of a plane."""
    counts = {a: max(2, int(np.ceil((high[a] - low[a]) * spacing[a] / pixel))) for a in (u, v)}
    lines = {a: low[a] + (np.arange(n) + 0.5) * (high[a] - low[a]) / n for a, n in counts.items()}
    index = np.empty((counts[v], counts[u], 3))
    index[:] = centre
    index[..., u], index[..., v] = lines[u][None, :], lines[v][:, None]
    return index


def _window(samples: Sequence[NDArray]) -> tuple[float, float]:
    values = np.concatenate([s.ravel() for s in samples]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99)).tolist()
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _coloured(values: NDArray, inside: NDArray[np.bool_], window: tuple[float, float]) -> NDArray:
    """Grey values; what is not finite in a colour; dark blue outside of the image."""
    low, high = window
    data = values.astype(np.float64)
    finite = np.isfinite(data)
    grey = np.clip((np.where(finite, data, low) - low) / ((high - low) or 1.0), 0, 1)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    rgb[inside & ~finite] = [int(BAD[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    rgb[~inside] = _OUTSIDE
    return rgb


def _outline(axis: Axes, mask: NDArray[np.bool_], extent: tuple[float, ...], colour: str, style: str) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask, [0.5], colors=[colour], linewidths=1.2, linestyles=style, extent=extent)


def plain_name(*parts: str) -> str:
    """Text as part of a file name: letters, digits, '-', '_' and '.', and no more than 80 of them.

    Examples
    --------
    >>> plain_name("../x", "<script>", "p07")
    'x_script_p07'
    """
    text = "_".join(re.sub(r"[^\w.-]+", "_", part, flags=re.ASCII).strip("._") for part in parts)
    return text[:80] or "_"
