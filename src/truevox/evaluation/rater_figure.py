"""The figure of ``truevox theory``: volumes against expected volumes, and the mean bias of every rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from truevox.evaluation.raters import RaterBias, RaterVolumes
from truevox.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, tidy, write_figure

__all__ = ["law_name", "loss_name", "plot_rater_volumes"]

_LAWS = {
    "raters": "raters' masks",
    "independent": "independent voxels",
    "nested": "nested masks",
    "averaged": "mean mask, soft",
}
_TITLES = {
    "cross_entropy": "cross-entropy",
    "threshold": "mask at 1/2",
    "dice": "soft Dice",
    "jaccard": "soft Jaccard",
}


@dataclass(frozen=True)
class _Style:
    colour: str
    marker: str
    drawn: bool = False


_STYLES = {
    ("cross_entropy", "raters", "none"): _Style(BLUE, "o"),
    ("threshold", "raters", "none"): _Style(GREEN, "^", True),
    ("", "raters", "global"): _Style(VERMILION, "s", True),
    ("", "raters", "descent"): _Style(ORANGE, "D"),
    ("", "independent", "global"): _Style(PURPLE, "v"),
    ("", "nested", "global"): _Style(SKY, "P"),
    ("", "averaged", "global"): _Style(GREY, "X"),
}


def loss_name(loss: str, search: str) -> str:
    """A loss in words, and how its optimum was found.

    Examples
    --------
    >>> loss_name("dice", "descent"), loss_name("threshold", "none")
    ('soft Dice, descent', 'mask at 1/2')
    """
    return _TITLES.get(loss, loss) + (", descent" if search == "descent" else "")


def law_name(law: str, search: str) -> str:
    """A law in words; nothing for what does not hang on it.

    Examples
    --------
    >>> law_name("nested", "global"), law_name("raters", "none")
    ('nested masks', '')
    """
    return "" if search == "none" else _LAWS[law]


def _rule_name(loss: str, law: str, search: str) -> str:
    given = law_name(law, search)
    return loss_name(loss, search) + (f"\n{given}" if given else "")


def plot_rater_volumes(path: Path, found: RaterVolumes) -> None:
    """Draw volumes of all cases and the bias of every rule.

    Parameters
    ----------
    path : Path
        PNG to write.
    found : RaterVolumes

    Raises
    ------
    FileError
        If it can't be written.
    """
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _scatter(left, found)
    _forest(right, found.summary)
    write_figure(figure, path)


def _style(loss: str, law: str, search: str) -> _Style:
    return _STYLES.get((loss, law, search)) or _STYLES["", law, search]


def _scatter(axis: Axes, found: RaterVolumes) -> None:
    rows = [row for row in found.rows if row["status"] == "ok"]
    volumes = np.array([(row["expected_volume_ml"], row["volume_ml"]) for row in rows])
    positive = volumes[volumes > 0]
    wide = bool(positive.max() > 30 * positive.min())
    low, high = (positive.min() / 1.3, positive.max() * 1.3) if wide else (0.0, 1.06 * positive.max())
    axis.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", zorder=1)
    for one in found.summary:
        rule = (one.loss, one.law, one.search)
        style = _style(*rule)
        if not style.drawn:
            continue
        points = np.array([v for v, row in zip(volumes, rows, strict=True) if _rule(row) == rule])
        faint = 0.85 if len(points) < 100 else 0.35
        axis.plot(
            *points.T,
            linestyle="none",
            marker=style.marker,
            markersize=6 if len(points) < 100 else 4,
            markeredgewidth=0,
            color=style.colour,
            alpha=faint,
            label=_rule_name(*rule).replace("\n", ", "),
        )
    if wide:
        axis.set(xscale="log", yscale="log")
    axis.set(xlim=(low, high), ylim=(low, high))
    axis.set(xlabel="expected volume: mean of the raters (ml)", ylabel="volume of the prediction (ml)")
    hidden = wide and bool((volumes <= 0).any())
    axis.set_title(f"Every case{' but empty predictions' * hidden}; the line is no bias", fontsize=11)
    tidy(axis)
    legend = axis.legend(loc="upper left", frameon=False, fontsize=9)
    for handle in legend.get_lines():
        handle.set_alpha(1)


def _rule(row: dict) -> tuple[str, str, str]:
    return row["loss"], row["law"], row["search"]


def _forest(axis: Axes, summary: Sequence[RaterBias]) -> None:
    axis.axvline(0, color=GREY, linewidth=1, linestyle="--")
    scale = 100 / summary[0].expected_volume_ml
    for level, one in enumerate(summary):
        style = _style(one.loss, one.law, one.search)
        # In per cent of the mean expected volume: the interval of the mean bias in ml, on that scale.
        middle, low, high = (x * scale for x in (one.bias_ml, one.ci_low_ml, one.ci_high_ml))
        if not math.isnan(low):
            axis.plot([low, high], [level, level], color=style.colour, linewidth=2.5, solid_capstyle="butt")
        axis.plot(
            middle, level, marker=style.marker, markersize=9, color=style.colour, markeredgecolor="white"
        )
        text = f"{middle:+.1f} %\n{one.bias_ml:+.3g} ml"
        axis.text(1.02, level, text, transform=axis.get_yaxis_transform(), va="center", fontsize=9)
    axis.set_yticks(range(len(summary)), [_rule_name(s.loss, s.law, s.search) for s in summary], fontsize=9)
    axis.invert_yaxis()
    axis.margins(x=0.08, y=0.08)
    cases = summary[0].cases
    axis.set_xlabel("mean bias (% of the mean expected volume)")
    interval = "" if math.isnan(summary[0].ci_low_ml) else ", 95 % interval over patients"
    axis.set_title(f"Volume bias to expect: {cases} case{'s' * (cases > 1)}{interval}", fontsize=11)
    tidy(axis)
    axis.grid(axis="y", visible=False)
