"""The figure of volume_bias.py: maps of one slice, biases with intervals, biases by quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import BLUE, GREEN, GREY, VERMILION, apart, tidy, write
from images import Nodules
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Row = Mapping[str, Any]
COLOURS = {"cross-entropy": BLUE, "cross-entropy + soft Dice": GREEN, "soft Dice": VERMILION}
MARKERS = {"cross-entropy": "o", "cross-entropy + soft Dice": "D", "soft Dice": "s"}
KINDS = {"expected": "sum of p", "mask": "mask, p > 0.5"}


def draw_figure(
    folder: Path,
    name: str,
    data: Nodules,
    rows: Sequence[Row],
    maps: Mapping[str, NDArray[np.float32]],
    theory: tuple[str, str],
) -> None:
    """Write ``name.png``; ``theory`` names the source and kind that stand beside the networks."""
    figure = Figure(figsize=(10, 8.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.75), squeeze=False)[:, 0]
    _maps(top, data, maps)
    left, right = bottom.subplots(1, 2, width_ratios=(1.25, 1))
    _biases(left, data, [row for row in rows if row["group"] == "all"])
    _quarters(right, data, rows, theory)
    write(figure, folder, name)


def _maps(figure: Any, data: Nodules, maps: Mapping[str, NDArray[np.float32]]) -> None:
    """The slice that is most uncertain in sum, of those that all raters marked."""
    agreed = data.masks.any((2, 3)).all(axis=-1)
    doubt = (data.expected * (1 - data.expected)).sum((1, 2)) * (agreed if agreed.any() else 1)
    one = int(np.argsort(doubt)[-max(1, len(doubt) // 50)])
    axes = figure.subplots(1, 2 + len(maps))
    axes[0].imshow(data.images[one], cmap="gray")
    for mask, line in zip(data.masks[one], ("-", "--", ":", "-."), strict=False):
        if mask.any():
            axes[0].contour(mask, [0.5], colors="#F0E442", linewidths=1.2, linestyles=line)
    axes[0].set_title("slice, four raters", fontsize=10)
    shown = {"known chance" if data.known else "raters' mean": data.expected[one]}
    shown |= {key: p[one] for key, p in maps.items()}
    for axis, (key, p) in zip(axes[1:], shown.items(), strict=True):
        drawn = axis.imshow(p, cmap="cividis", vmin=0, vmax=1)
        axis.set_title(key.replace(" + ", "\n+ "), fontsize=10, color=COLOURS.get(key, "black"))
        axis.set_xlabel(f"area {p.sum() * data.pixel:.0f} {_unit(data)}", fontsize=9)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=list(axes), label="probability", shrink=0.75, pad=0.01)


def _unit(data: Nodules) -> str:
    return data.unit.replace("mm2", "mm²")


def _reference(data: Nodules) -> str:
    return "the known area" if data.known else "the raters' mean"


def _biases(axis: Axes, data: Nodules, rows: Sequence[Row]) -> None:
    """One line per source and kind, theory below the networks."""
    place, labels, heads = 0.0, {}, {}
    last = ""
    for row in rows:
        head = row["source"] if row["source"] not in COLOURS else "networks, tested on unseen patients"
        if head != last:
            place += 0.25
            heads[place] = head
            place += 0.85
            last = head
        colour = COLOURS.get(row["source"], GREY)
        filled, bias = row["kind"] != "mask", round(row["bias_percent"])
        marker = MARKERS.get(row["source"], "|" if row["kind"] == "majority" else "d")
        axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2, alpha=0.8)
        axis.plot(
            row["bias_percent"], place, marker, color=colour, markersize=8, zorder=3,
            markerfacecolor=colour if filled else "white", markeredgewidth=1.6,
        )  # fmt: skip
        axis.annotate(
            f"{bias:+d} %" if bias else "0 %", (row["ci_high"], place), (6, 0), textcoords="offset points",
            va="center", fontsize=9, color=colour, bbox={"color": "white", "pad": 0.5, "alpha": 0.8},
        )  # fmt: skip
        kind = KINDS.get(row["kind"])
        labels[place] = f"{row['source']}: {kind}" if kind else row["kind"]
        place += 0.8
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(list(labels), list(labels.values()), fontsize=9)
    axis.set_ylim(place - 0.2, -0.3)
    left, right = axis.get_xlim()
    axis.set_xlim(left, right + 0.12 * (right - left))
    for y, head in heads.items():
        axis.text(0, y, head, transform=axis.get_yaxis_transform(), fontsize=9, va="center", weight="bold")
    axis.set_xlabel(f"area against {_reference(data)} (%)\nwith 95 % intervals")
    tidy(axis, "x")
    axis.tick_params("y", length=0)


def _quarters(axis: Axes, data: Nodules, rows: Sequence[Row], theory: tuple[str, str]) -> None:
    """Bias of the sums of probabilities, from the least to the most uncertain quarter.

    In percent of a known area; in pixels where the quarters differ much in size.
    """
    order = np.argsort(data.uncertainty)
    middle = [float(np.median(data.uncertainty[part])) for part in np.array_split(order, 4)]
    lines = {source: (source, "expected", COLOURS[source], "-") for source in COLOURS}
    lines[f"theory, {_from(theory[0])}:\n{theory[1]}"] = (*theory, GREY, "--")
    ends: dict[str, float] = {}
    for shift, (label, (source, kind, colour, line)) in enumerate(lines.items()):
        found = [
            row for row in rows
            if (row["kind"], row["source"]) == (kind, source) and row["group"].startswith("quarter")
        ]  # fmt: skip
        scale = np.array([1.0 if data.known else row["reference_per_nodule"] / 100 for row in found])
        y, low, high = (scale * [row[key] for row in found] for key in ("bias_percent", "ci_low", "ci_high"))
        x = np.arange(4) + 0.06 * (shift - 1.5)
        axis.plot(x, y, line, color=colour, marker=MARKERS.get(source, "d"), markersize=7)
        axis.vlines(x, low, high, color=colour, alpha=0.7)
        ends[label] = float(y[-1])
    bottom, top = axis.get_ylim()
    for label, y in apart(ends, 0.075 * (top - bottom)).items():
        colour = lines[label][2]
        axis.annotate(
            label, (3.1, ends[label]), (3.3, y), color=colour, fontsize=9, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "0.8", "linewidth": 0.8},
        )  # fmt: skip
    axis.axhline(0, color="black", linewidth=1)
    axis.set_xticks(range(4), [f"{value:.2f}" for value in middle])
    axis.set_xlim(-0.3, 5.1)
    axis.set_xlabel(f"{data.uncertainty_name},\nmedian of each quarter")
    unit = "%" if data.known else f"{_unit(data)} per nodule"
    axis.set_ylabel(f"area against {_reference(data)} ({unit})")
    tidy(axis, "y")


def _from(source: str) -> str:
    return source.removeprefix("theory, ")
