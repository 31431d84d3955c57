"""The figure of phi_epsilon.py: maps of the muscle, and what every run of every setting makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from figures import BLUE, GREEN, GREY, ORANGE, VERMILION, tidy, write
from images import Hearts
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Row = Mapping[str, Any]
SHOWN = ("I", "BI", "I, ε = 1 V", "I, ε = V, 3 of 4 labelled", "BI, flagged")
PANELS = {
    "dice_labelled": "Dice of the muscle\nwhere it had a label",
    "dice_unlabelled": "if it was missing:\nDice where it had no label",
    "auc_presence": "if it was empty: AUC of\npresence by predicted area",
    "theory_gain": "theory: Dice gained by\npredicting it before\nphases are told apart",
}


def draw_figure(
    folder: Path, name: str, data: Hearts, rows: Sequence[Row], maps: Mapping[str, NDArray[np.float32]]
) -> None:
    """Write ``name.png``."""
    figure = Figure(figsize=(10, 8.8), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.5), squeeze=False)[:, 0]
    _maps(top, data, maps)
    axes = bottom.subplots(1, len(PANELS), sharey=True)
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    for axis, (score, text) in zip(axes, PANELS.items(), strict=True):
        _runs(axis, rows, settings, score)
        axis.set_xlabel(text, fontsize=9)
    axes[0].set_yticks(range(len(settings)), [_named(s) for s in settings], fontsize=9)
    axes[0].set_ylim(len(settings) - 0.5, -0.5)
    axes[2].axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    axes[3].axvline(0, color="black", linewidth=1)
    write(figure, folder, name)


def _maps(figure: Any, data: Hearts, maps: Mapping[str, NDArray[np.float32]]) -> None:
    """The muscle in a heart of each phase, by the first run."""
    axes = figure.subplots(2, 2 + len(SHOWN))
    for row, phase in enumerate(("relaxed: muscle\nhas a label", "contracted: muscle\nhas none")):
        axes[row, 0].imshow(data.images[row], cmap="gray")
        axes[row, 0].set_ylabel(phase, fontsize=9)
        axes[row, 1].imshow(data.labels[row] == 2, cmap="cividis", vmin=0, vmax=1)
        for axis, key in zip(axes[row, 2:], SHOWN, strict=True):
            drawn = axis.imshow(maps[key][row], cmap="cividis", vmin=0, vmax=1)
    titles = ("image", "muscle", *(fill(_named(key), 15) for key in SHOWN))
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=list(axes.flat), label="probability of muscle", shrink=0.8, pad=0.01)


def _named(setting: str) -> str:
    return setting.replace("ε = 1 V", "ε = V").replace("flagged", "told what was drawn")


def _colour(setting: str) -> str:
    if "flagged" in setting:
        return GREEN
    if "ε" in setting:
        return ORANGE if "below" in setting else VERMILION
    return BLUE


def _runs(axis: Axes, rows: Sequence[Row], settings: Sequence[str], score: str) -> None:
    """A dot per run, a line at their mean."""
    for y, setting in enumerate(settings):
        values = [row[score] for row in rows if row["setting"] == setting]
        colour, mean = _colour(setting), float(np.mean(values))
        axis.plot([mean, mean], [y - 0.32, y + 0.32], color=colour, linewidth=2)
        axis.plot(values, [y] * len(values), "o", color=colour, markersize=6, alpha=0.6, markeredgewidth=0)
    axis.set(xlim=(-0.05, 1.05), xticks=np.arange(0, 1.01, 0.25))
    axis.set_xticklabels(["0", "", "0.5", "", "1"])
    tidy(axis)
    axis.tick_params("y", length=0)
