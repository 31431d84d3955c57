"""The figure of phi_epsilon.py: the two readings of every setting, epsilon's sweep, and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import BLUE, GREEN, GREY, ORANGE, VERMILION, apart, tidy, write
from images import Hearts
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Row = Mapping[str, Any]
SHOWN = ("I", "BI", "I, ε = 1 V", "BI, flagged")
SCORES = ("dice_unlabelled", "auc_presence")


def draw_figure(
    folder: Path,
    name: str,
    data: Hearts,
    rows: Sequence[Row],
    maps: Mapping[str, NDArray[np.float32]],
    factors: Sequence[float],
) -> None:
    """Write ``name.png``."""
    figure = Figure(figsize=(10, 8.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    _maps(top, data, maps)
    left, right = bottom.subplots(1, 2, width_ratios=(1.35, 1))
    _readings(left, rows)
    _sweep(right, rows, factors)
    write(figure, folder, name)


def _maps(figure: Any, data: Hearts, maps: Mapping[str, NDArray[np.float32]]) -> None:
    """The muscle in a heart of each phase."""
    axes = figure.subplots(2, 2 + len(SHOWN))
    for row, phase in enumerate(("relaxed: muscle\nhas a label", "contracted: muscle\nhas none")):
        axes[row, 0].imshow(data.images[row], cmap="gray")
        axes[row, 0].set_ylabel(phase, fontsize=9)
        axes[row, 1].imshow(data.labels[row] == 2, cmap="cividis", vmin=0, vmax=1)
        for axis, key in zip(axes[row, 2:], SHOWN, strict=True):
            drawn = axis.imshow(maps[key][row], cmap="cividis", vmin=0, vmax=1)
    for axis, title in zip(axes[0], ("image", "muscle", *map(_named, SHOWN)), strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=list(axes.flat), label="probability of muscle", shrink=0.8, pad=0.01)


def _named(setting: str) -> str:
    return setting.replace("1 V", "V").replace("flagged", "told what\nwas drawn")


def _colour(setting: str) -> str:
    if "flagged" in setting:
        return GREEN
    if "ε" in setting:
        return VERMILION if "below" not in setting else ORANGE
    return BLUE


def _mean(rows: Sequence[Row], setting: str) -> tuple[float, float]:
    chosen = [row for row in rows if row["setting"] == setting]
    one, two = (float(np.mean([row[score] for row in chosen])) for score in SCORES)
    return one, two


def _readings(axis: Axes, rows: Sequence[Row]) -> None:
    """Each network a faint dot, the mean of a setting a marker."""
    names = [s for s in dict.fromkeys(row["setting"] for row in rows) if _is_main(s)]
    means = {name: _mean(rows, name) for name in names}
    for row in rows:
        if row["setting"] in means:
            axis.plot(row[SCORES[0]], row[SCORES[1]], ".", color=_colour(row["setting"]), alpha=0.4)
    places = apart({name: mean[1] for name, mean in means.items()}, 0.052, 1.16)
    for name, (x, y) in means.items():
        axis.plot(x, y, "o", color=_colour(name), markersize=9, zorder=3, markeredgecolor="white")
        side = 1 if x < 0.5 else -1
        axis.annotate(
            _named(name).replace("\n", " "), (x, y), (x + 0.07 * side, places[name]), color=_colour(name),
            fontsize=9, va="center", ha="left" if side > 0 else "right",
            arrowprops={"arrowstyle": "-", "color": "0.8", "linewidth": 0.8, "shrinkB": 4},
        )  # fmt: skip
    axis.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
    axis.set(xlim=(-0.03, 1.0), ylim=(0, 1.2), yticks=np.arange(0, 1.01, 0.25))
    axis.set_xlabel("if the label was missing: Dice of the muscle\nwhere it had no label")
    axis.set_ylabel("if the label was empty: AUC of presence\nfrom the predicted area (0.5: chance)")
    tidy(axis)


def _is_main(setting: str) -> bool:
    return "ε" not in setting or "1 V" in setting and "0" not in setting or "= V" in setting


def _sweep(axis: Axes, rows: Sequence[Row], factors: Sequence[float]) -> None:
    """Both scores against epsilon, for image-wise sums."""
    names = ["I", *(f"I, ε = {factor:g} V" for factor in factors)]
    place = np.log10([factors[0] / 10, *factors])
    labels = ("Dice where it\nhad no label", "AUC of presence")
    for k, (score, colour, marker) in enumerate(zip(SCORES, (BLUE, VERMILION), "os", strict=True)):
        for x, setting in zip(place, names, strict=True):
            values = [row[score] for row in rows if row["setting"] == setting]
            axis.plot([x] * len(values), values, ".", color=colour, alpha=0.4)
        y = [_mean(rows, setting)[k] for setting in names]
        axis.plot(place, y, "-", marker=marker, color=colour)
        axis.annotate(
            labels[k], (place[-1], y[-1]), (8, 0), textcoords="offset points", color=colour, fontsize=9,
            va="center", annotation_clip=False,
        )  # fmt: skip
    axis.set_xticks(place, ["~0", *(f"{factor:g}" for factor in factors)])
    axis.set(xlim=(place[0] - 0.2, place[-1] + 1.6), ylim=(0, 1.2), yticks=np.arange(0, 1.01, 0.25))
    axis.set_xlabel("image-wise sums: ε, in units of the muscle's\nmean area V in the training labels")
    tidy(axis)
