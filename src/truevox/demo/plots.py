"""Figures of the demo: training curves, one slice with its errors, predicted against known volumes.

Colours: blue and vermilion of Okabe and Ito (2008), which stay apart for colour-blind readers, and
markers that differ too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from truevox.figures import GREY, tidy, write_figure
from truevox.image import Image

__all__ = ["Style", "VolumePoint", "plot_overlay", "plot_training", "plot_volumes"]


@dataclass(frozen=True)
class Style:
    """How a method is named and drawn."""

    name: str
    colour: str
    marker: str


@dataclass(frozen=True)
class VolumePoint:
    """Volumes of one case, in ml: known, of every rater, and expected by every method."""

    known: float
    raters: Sequence[float]
    predicted: Mapping[str, float]


def plot_training(
    path: Path, histories: Mapping[str, Sequence[Mapping[str, float]]], styles: Mapping[str, Style]
) -> None:
    """The loss of every method, each on its own scale, and the Dice of the validation scans of both.

    Parameters
    ----------
    path : Path
        PNG to write.
    histories : mapping of method to rows
        As :meth:`truevox.Model.fit` returns them.
    styles : mapping of method to Style
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, len(histories) + 1)
    for axis, (key, rows) in zip(axes[:-1], histories.items(), strict=True):
        points = [(row["step"], row["loss"]) for row in rows if "loss" in row]
        _line(axis, points, styles[key])
        axis.set(title=styles[key].name, xlabel="training step", ylabel="loss, mean of ten steps")
    last = axes[-1]
    for key, rows in histories.items():
        points = [(r["step"], r[name]) for r in rows for name in r if name.endswith("/dice")]
        _line(last, points, styles[key], marked=True)
    last.set(title="Validation scans", xlabel="training step", ylabel="mean Dice against one rater")
    last.set_ylim(0, 1)
    last.legend(loc="lower right", frameon=False)
    for axis in axes:
        tidy(axis)
        axis.set_xlim(left=0)
    for axis in axes[:-1]:
        axis.set_ylim(bottom=0)
    write_figure(figure, path)


def _line(axis: Axes, points: Sequence[tuple[float, float]], style: Style, marked: bool = False) -> None:
    x, y = zip(*points, strict=True) if points else ((), ())
    axis.plot(
        x, y, color=style.colour, marker=style.marker if marked else None, markersize=5, label=style.name
    )


def plot_volumes(path: Path, points: Sequence[VolumePoint], styles: Mapping[str, Style]) -> None:
    """Expected volume of every method against the known one, with the identity line.

    Grey bars span the volumes of the raters of the case.
    """
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axis = figure.subplots()
    known = [p.known for p in points]
    top = 1.06 * max(max(p.known, *p.raters, *p.predicted.values()) for p in points)
    axis.plot([0, top], [0, top], color=GREY, linewidth=1, linestyle="--", label="predicted = known")
    low, high = [min(p.raters) for p in points], [max(p.raters) for p in points]
    axis.vlines(known, low, high, color="0.82", linewidth=4, label="range of the raters", zorder=0)
    for key, style in styles.items():
        axis.plot(
            known,
            [p.predicted[key] for p in points],
            linestyle="none",
            marker=style.marker,
            markersize=7,
            markeredgecolor="white",
            color=style.colour,
            label=style.name,
        )
    axis.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axis.set(xlabel="known expected volume (ml)", ylabel="predicted expected volume (ml)")
    axis.set_title("Expected volume of the test scans")
    axis.legend(loc="lower right", frameon=False)
    tidy(axis)
    write_figure(figure, path)


def plot_overlay(
    path: Path,
    case: str,
    scan: Image,
    known: Image,
    raters: Sequence[Image],
    predicted: Mapping[str, Image],
    styles: Mapping[str, Style],
) -> None:
    """One slice: the scan with the raters' outlines, the known map, every method's map and its error.

    The slice is the one with the largest known area. Axes are distances along the grid's canonical axes.

    Parameters
    ----------
    path : Path
        PNG to write.
    case : str
    scan, known : Image
        On one grid, like all images here.
    raters : sequence of Image
        Label images.
    predicted : mapping of method to Image
        Probabilities.
    styles : mapping of method to Style
    """
    level = int(_canonical(known).sum((0, 1)).argmax())
    flat = {key: _slice(image, level) for key, image in predicted.items()}
    truth = _slice(known, level)
    grid = scan.grid.reorient("RAS")
    width, height = (float(n * s) for n, s in zip(grid.shape[:2], grid.spacing[:2], strict=True))
    extent = (0.0, width, 0.0, height)
    figure = Figure(figsize=(3.1 * (1 + len(flat)) + 1.2, 6.6), layout="constrained")
    axes = figure.subplots(2, 1 + len(flat), sharex=True, sharey=True)

    def show(axis: Axes, data: NDArray, title: str, **how: Any) -> Any:
        axis.set_title(title, fontsize=10)
        return axis.imshow(data, origin="lower", extent=extent, interpolation="nearest", **how)

    show(axes[0, 0], _slice(scan, level), "Scan, with the raters' outlines", cmap="gray")
    for image, line in zip(raters, ("-", "--", ":"), strict=False):
        mask = _slice(image, level)
        if mask.any() and not mask.all():
            axes[0, 0].contour(mask, [0.5], colors="#F0E442", linewidths=1.3, linestyles=line, extent=extent)
    chance = {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}
    map_ = show(axes[1, 0], truth, "Known probability", **chance)
    error = None
    for column, (key, data) in enumerate(flat.items(), start=1):
        show(axes[0, column], data, f"{styles[key].name}: probability", **chance)
        title = f"{styles[key].name}: error"
        error = show(axes[1, column], data - truth, title, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    for axis in axes[1]:
        axis.set_xlabel("left to right (mm)")
    for axis in axes[:, 0]:
        axis.set_ylabel("posterior to anterior (mm)")
    figure.colorbar(map_, ax=axes[0, :], label="probability", shrink=0.9)
    if error is not None:
        figure.colorbar(error, ax=axes[1, :], label="predicted - known", shrink=0.9)
    figure.suptitle(f"Test case {case}, slice {level + 1} of {grid.shape[2]}", fontsize=12)
    write_figure(figure, path)


def _canonical(image: Image) -> NDArray:
    return image.on(image.grid.reorient("RAS"), mirror=False).numpy()[0]


def _slice(image: Image, level: int) -> NDArray:
    """Rows are the second axis, so that it grows upwards in the picture."""
    return np.asarray(_canonical(image)[:, :, level], dtype=np.float64).T
