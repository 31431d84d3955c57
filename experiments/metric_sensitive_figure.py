"""The figure of metric_sensitive.py: scores by loss, differences from cross-entropy, areas of the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, tidy, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]
UNDER = {"color": "white", "pad": 0.5, "alpha": 0.8}
COLOURS = (BLUE, SKY, VERMILION, ORANGE, GREEN, "0.3", PURPLE)


def draw_figure(
    folder: Path, name: str, rows: Sequence[Row], pairs: Sequence[Row], reference: str, same: float
) -> None:
    """Write ``name.png``; differences are from ``reference``, and those below ``same`` lie in the grey."""
    tasks, losses = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "loss"))
    colours = dict(zip(losses, COLOURS, strict=True))
    figure = Figure(figsize=(10, 2.2 + 1.9 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), 3, sharey=True, sharex="col", squeeze=False)
    for line, task in zip(axes, tasks, strict=True):
        here = [row for row in rows if row["task"] == task]
        _scores(line[0], here, colours)
        _differences(line[1], [p for p in pairs if p["task"] == task], losses, colours, reference, same)
        _areas(line[2], here, colours)
        line[0].set_title(f"{task}, {here[0]['cases']} cases", loc="left", fontsize=10, weight="bold")
    axes[0, 0].set_yticks(range(len(losses)), losses, fontsize=9)
    axes[0, 0].set_ylim(len(losses) - 0.4, -0.6)
    for axis, text in zip(axes[-1], (
        "Dice (filled) and Jaccard (open);\nsmall dots: single runs' Dice",
        f"Dice and Jaccard minus those of\n{reference}, 95 % intervals",
        "area of the masks against\nthe truth (%), 95 % intervals",
    ), strict=True):  # fmt: skip
        axis.set_xlabel(text, fontsize=9)
    write(figure, folder, name)


def _scores(axis: Axes, rows: Sequence[Row], colours: Mapping[str, str]) -> None:
    for y, row in enumerate(rows):
        colour = colours[row["loss"]]
        for score, shift, face in (("dice", -0.14, colour), ("jaccard", 0.14, "white")):
            axis.plot([row[f"{score}_low"], row[f"{score}_high"]], [y + shift] * 2, color=colour, linewidth=2)
            axis.plot(row[score], y + shift, "o", color=colour, markerfacecolor=face, markersize=6)
        runs = row["dice_worst_run"], row["dice_best_run"]
        axis.plot(runs, [y - 0.36] * 2, ".", color=colour, markersize=4)
    tidy(axis, "x")


def _differences(
    axis: Axes,
    pairs: Sequence[Row],
    losses: Sequence[str],
    colours: Mapping[str, str],
    reference: str,
    same: float,
) -> None:
    axis.axvspan(-same, same, color="0.93", zorder=0)
    axis.axvline(0, color="black", linewidth=1)
    for pair in pairs:
        if reference not in (pair["first"], pair["second"]):
            continue
        loss = pair["second"] if pair["first"] == reference else pair["first"]
        sign = 1 if loss == pair["first"] else -1
        low, high = sorted((sign * pair["difference_low"], sign * pair["difference_high"]))
        y = losses.index(loss) + (-0.14 if pair["score"] == "dice" else 0.14)
        face = colours[loss] if pair["score"] == "dice" else "white"
        axis.plot([low, high], [y, y], color=colours[loss], linewidth=2)
        axis.plot(sign * pair["difference"], y, "o", color=colours[loss], markerfacecolor=face, markersize=6)
        if pair["score"] == "dice":
            p = pair["p_holm"]
            text = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
            beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            axis.annotate(text, (high, y), fontsize=8, color=GREY, bbox=UNDER, **beside)
    tidy(axis, "x")


def _areas(axis: Axes, rows: Sequence[Row], colours: Mapping[str, str]) -> None:
    axis.axvline(0, color="black", linewidth=1)
    for y, row in enumerate(rows):
        colour = colours[row["loss"]]
        axis.plot([row["area_percent_low"], row["area_percent_high"]], [y, y], color=colour, linewidth=2)
        axis.plot(row["area_percent"], y, "o", color=colour, markersize=6)
        axis.annotate(
            f"{row['area_percent']:+.0f} %", (row["area_percent_high"], y), (6, 0),
            textcoords="offset points", fontsize=8, va="center", color=colour, bbox=UNDER,
        )  # fmt: skip
    tidy(axis, "x")
