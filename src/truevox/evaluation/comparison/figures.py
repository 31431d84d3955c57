"""Figures of a comparison: scores of each case, rankings, agreement of volumes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from truevox.evaluation.comparison.agreements import DIFFERENCE_METRIC, VOLUME_METRICS, volume_differences
from truevox.evaluation.comparison.missing import Scores
from truevox.evaluation.comparison.rank_figures import draw_ranking, draw_tau, short
from truevox.evaluation.comparison.standings import Standing
from truevox.figures import BLACK, BLUE, GREY, VERMILION, tidy, write_figure

if TYPE_CHECKING:
    from truevox.evaluation.comparison.study import Comparison

__all__ = ["file_stem", "write_figures"]

_JITTER = 0.12


def write_figures(folder: Path, found: Comparison) -> list[Path]:
    """Draw the scores and the ranking of each metric and label, Bland-Altman of volumes, and stability.

    Parameters
    ----------
    folder : Path
    found : Comparison

    Returns
    -------
    list of Path
        PNG files: ``scores_*``, ``ranking_*``, ``bland_altman_*`` and ``rank_stability``.

    Raises
    ------
    FileError
        If one can't be written.
    """
    figures: dict[str, Figure] = {}
    for one in found.standings:
        scores = one.table.scores
        name = file_stem(*filter(None, (scores.metric, scores.label)))
        figures[_free(f"scores_{name}", figures)] = draw_scores(one)
        figures[_free(f"ranking_{name}", figures)] = draw_ranking(one)
    if found.standings and len(found.methods) > 1:
        figures["rank_stability"] = draw_tau(found.standings)
    for one in found.volumes:
        if one.metric == DIFFERENCE_METRIC and any(
            volume_differences(one, k) for k in range(len(one.methods))
        ):
            figures[_free(f"bland_altman_{file_stem(one.label)}", figures)] = draw_bland_altman(one, found)
    paths = []
    for name, figure in figures.items():
        write_figure(figure, folder / f"{name}.png")
        paths.append(folder / f"{name}.png")
    return paths


def file_stem(*parts: str) -> str:
    """Words for a file name that every system takes.

    Examples
    --------
    >>> file_stem("nsd@1mm/voxel", "../liver <x>")
    'nsd@1mm-voxel_liver-x'
    """
    words = (re.sub(r"[^\w@.+-]+", "-", part).strip("-.") or "x" for part in parts)
    return "_".join(words)[:100]


def _free(name: str, taken: dict[str, Figure]) -> str:
    """The name, or with a number if another label is written alike."""
    names = (name, *(f"{name}_{k}" for k in range(2, len(taken) + 3)))
    return next(one for one in names if one.casefold() not in {known.casefold() for known in taken})


# ---- scores -------------------------------------------------------------------------------------


def draw_scores(one: Standing) -> Figure:
    """Every case of every method, in the order of the ranking; a line joins what is one case."""
    scores, values = one.table.scores, one.table.values[one.order]
    count, cases = values.shape
    names = [short(scores.methods[k]) for k in one.order]
    figure = Figure(figsize=(min(16.0, 4.2 + 0.8 * count), 4.8), layout="constrained")
    axis = figure.subplots()
    shift = np.random.default_rng(0).uniform(-_JITTER, _JITTER, cases)
    x = np.arange(count)[:, None] + shift
    faint = min(0.5, 12 / cases) if cases else 0.5
    axis.plot(x, values, color=GREY, linewidth=0.7, alpha=faint, zorder=1)
    axis.plot(
        x.ravel(), values.ravel(), "o", color=BLUE, markersize=4 if cases < 100 else 2.5, markeredgewidth=0,
        alpha=max(0.25, min(0.8, 40 / max(1, cases))), zorder=2, label="case",
    )  # fmt: skip
    gaps = one.table.worst_at[one.order]
    if gaps.any():
        axis.plot(x[gaps], values[gaps], "x", color=VERMILION, markersize=6, zorder=3, label="missing: worst")
    axis.boxplot(
        values.T, positions=np.arange(count), widths=0.55, showfliers=False, manage_ticks=False,
        medianprops={"color": BLACK, "linewidth": 1.6}, boxprops={"color": "0.3"},
        whiskerprops={"color": "0.3"}, capprops={"color": "0.3"}, zorder=4,
    )  # fmt: skip
    axis.plot(np.arange(count), values.mean(1), "D", color=VERMILION, markeredgecolor="white", zorder=5,
              label="mean")  # fmt: skip
    _names_below(axis, names)
    axis.set_xlim(-0.6, count - 0.4)
    size = "|" if scores.better == "zero" else ""
    unit = f" ({scores.unit})" if scores.unit not in ("", "1") else ""
    axis.set_ylabel(f"{size}{scores.metric}{size}{unit}")
    good = "more is better" if scores.better == "higher" else "less is better"
    axis.set_title(f"{one.title}\n{cases} cases, one line each; {good}", fontsize=11)
    tidy(axis)
    axis.grid(axis="x", visible=False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _names_below(axis: Axes, names: Sequence[str]) -> None:
    crowded = sum(map(len, names)) > 12 * len(names) ** 0.5 + 20 or len(names) > 8
    axis.set_xticks(range(len(names)), list(names), fontsize=9)
    if crowded:
        axis.tick_params(axis="x", rotation=35 if len(names) < 16 else 70)
        for label in axis.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


# ---- volumes ------------------------------------------------------------------------------------


def draw_bland_altman(scores: Scores, found: Comparison) -> Figure:
    """Differences of volumes of each method, with bias and limits of agreement.

    Over the mean of both volumes if the evaluations hold them; else in the order of the differences.
    """
    sizes = {one.metric: one for one in found.volumes if one.label == scores.label}
    means = [sizes[name].values for name in VOLUME_METRICS if name in sizes]
    known = len(means) == 2
    rows = {
        row["first"]: row
        for row in found.agreement
        if row["second"] == "reference" and row["label"] == scores.label and row["bias"] is not None
    }
    names = [name for name in scores.methods if name in rows]
    columns = min(4, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(1.2 + 3.8 * columns, 0.6 + 3.3 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axis in axes.ravel()[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.ravel(), names, strict=False):
        k = scores.methods.index(name)
        kept = volume_differences(scores, k)
        differences = scores.values[k, kept]
        place = (means[0] + means[1])[k, kept] / 2 if known else differences.argsort().argsort() + 1
        _draw_limits(axis, place, differences, rows[name])
        axis.set_title(short(name, 40), fontsize=10)
    _write_limits(axes.ravel().tolist(), [rows[name] for name in names])
    for axis in axes[:, 0]:
        axis.set_ylabel("prediction - reference (ml)")
    for axis in axes[-1]:
        axis.set_xlabel("mean of both volumes (ml)" if known else "cases, by their difference")
    figure.suptitle(f"Volumes of {scores.label}: bias and limits of agreement, with intervals", fontsize=11)
    return figure


def _draw_limits(axis: Axes, place: np.ndarray, differences: np.ndarray, row: dict) -> None:
    axis.axhline(0, color=GREY, linewidth=0.8)
    for name, colour in (("bias", VERMILION), ("lower", BLACK), ("upper", BLACK)):
        axis.axhline(row[name], color=colour, linestyle="-" if name == "bias" else "--", linewidth=1.3)
        if not math.isnan(row[f"{name}_low"]):
            axis.axhspan(row[f"{name}_low"], row[f"{name}_high"], color=colour, alpha=0.12, linewidth=0)
    axis.plot(place, differences, "o", color=BLUE, markersize=4, alpha=0.7, markeredgewidth=0)
    tidy(axis)


def _write_limits(axes: Sequence[Axes], rows: Sequence[dict]) -> None:
    """Bias and limits beside each panel: apart from one another, also where the lines are not."""
    for axis, row in zip(axes, rows, strict=False):
        low, high = axis.get_ylim()
        least = 0.06 * (high - low)
        shown = [("lower", BLACK), ("bias", VERMILION), ("upper", BLACK)]
        known = [(row[name], colour) for name, colour in shown if not math.isnan(row[name])]
        if known and known[0][0] == known[-1][0]:  # nothing differs: one number says it
            known = known[:1]
        middle = sum(value for value, _ in known) / max(1, len(known))
        crowded = known and known[-1][0] - known[0][0] < 2 * least
        for k, (value, colour) in enumerate(known):
            place = middle + (k - (len(known) - 1) / 2) * least if crowded else value
            axis.text(
                1.02, place, f"{value:+.3g}", transform=axis.get_yaxis_transform(), va="center", fontsize=9,
                color=colour,
            )  # fmt: skip
