"""Figures that challenges show of their rankings: blobs, podium, significance, schemes, Kendall's tau."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from truevox.evaluation.comparison.ranking import SCHEMES, significance
from truevox.evaluation.comparison.standings import Standing
from truevox.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, tidy

__all__ = ["colours", "draw_ranking", "draw_tau"]

_FIRST = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_FEW = 12
_LARGEST = 420.0


def colours(count: int) -> list:
    """A colour for each method: told apart by all readers where there are few.

    Examples
    --------
    >>> colours(2)
    ['#0072B2', '#D55E00']
    """
    return (
        list(_FIRST[:count])
        if count <= len(_FIRST)
        else list(colormaps["turbo"](np.linspace(0.03, 0.97, count)))
    )


def draw_ranking(one: Standing) -> Figure:
    """Four panels: bootstrap ranks, podium, significance, ranks of all schemes.

    References
    ----------
    Eugster, Hothorn and Leisch (2008), Exploratory and inferential analysis of benchmark experiments;
    Wiesenfarth et al. (2021), Methods and open-source toolkit for analyzing and visualizing challenge
    results.
    """
    count = len(one.order)
    side = min(18.0, 10.0 + max(0, count - 6) * 0.5)
    figure = Figure(figsize=(side + 1.5, side * 0.85), layout="constrained")
    (blobs, podium), (map_of_tests, lines) = figure.subplots(2, 2)
    _blobs(blobs, one)
    _podium(podium, one)
    _significance(map_of_tests, one)
    _schemes(lines, one)
    patients = one.table.field.patients
    many = "s" * (patients != 1)
    figure.suptitle(f"Ranking by {one.title}: {patients} patient{many}", fontsize=12)
    return figure


def short(name: str, most: int = 28) -> str:
    """A name that leaves room for the figure.

    Examples
    --------
    >>> short("nnU-Net"), short("a very long name of a method", 12)
    ('nnU-Net', 'a very long…')
    """
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def _names(one: Standing) -> list[str]:
    return [short(one.table.scores.methods[k]) for k in one.order]


def _below(axis: Axes, names: Sequence[str]) -> None:
    slanted = max(map(len, names)) * len(names) > 55
    axis.set_xticks(range(len(names)), list(names), fontsize=9, rotation=40 if slanted else 0,
                    ha="right" if slanted else "center", rotation_mode="anchor")  # fmt: skip


def _ranks_down(axis: Axes, count: int) -> None:
    axis.set_ylim(count + 0.6, 0.4)
    axis.set_yticks(range(1, count + 1))


# ---- panels -------------------------------------------------------------------------------------


def _blobs(axis: Axes, one: Standing) -> None:
    share = one.stability.distribution[one.order]
    low, high = (ends[one.order] for ends in one.stability.interval)
    median = np.median(one.stability.draws, axis=0)[one.order]
    count = len(one.order)
    for k, colour in enumerate(colours(count)):
        axis.plot([k, k], [low[k], high[k]], color="0.3", linewidth=1.2, zorder=2)
        axis.scatter(np.full(count, k), np.arange(1, count + 1), s=_LARGEST * share[k] * min(1, 8 / count),
                     color=colour, linewidth=0, zorder=3)  # fmt: skip
    axis.scatter(np.arange(count), median, marker="x", color=BLACK, s=30, zorder=4)
    _ranks_down(axis, count)
    _below(axis, _names(one))
    axis.set_xlim(-0.6, count - 0.4)
    axis.set_ylabel("rank in bootstrap samples")
    axis.set_title("Area: share of samples; line: 95 %; x: median", fontsize=10)
    tidy(axis)


def _podium(axis: Axes, one: Standing) -> None:
    """Each case: which method is at which place, with what value; bars say how often."""
    order = one.order[:_FEW]
    values = one.table.values[order]
    ahead = values if one.table.field.better == "higher" else -values
    count, cases = values.shape
    # Ties get places at random, so that no method is favoured by its name.
    rng = np.random.default_rng(0)
    place = np.lexsort((rng.random(values.shape), -ahead), axis=0).argsort(axis=0)
    width = 0.8 / count
    bars = axis.inset_axes((0, 0, 1, 0.24))
    dots = axis.inset_axes((0, 0.3, 1, 0.7), sharex=bars)
    axis.axis("off")
    spot = place + (np.arange(count)[:, None] - (count - 1) / 2) * width
    joined = np.argsort(place, axis=0)
    dots.plot(np.take_along_axis(spot, joined, 0), np.take_along_axis(values, joined, 0), color=GREY,
              linewidth=0.5, alpha=min(0.4, 8 / max(1, cases)), zorder=1)  # fmt: skip
    for k, colour in enumerate(colours(count)):
        dots.plot(
            spot[k], values[k], "o", color=colour, markersize=3.5, markeredgewidth=0, alpha=0.7,
            label=short(one.table.scores.methods[order[k]]),
        )  # fmt: skip
        share = np.bincount(place[k], minlength=count)
        bars.bar(np.arange(count) + (k - (count - 1) / 2) * width, share, width * 0.9, color=colour)
    dots.tick_params(labelbottom=False)
    bars.set_xticks(range(count), [str(k + 1) for k in range(count)])
    bars.set_xlabel("place on the case")
    bars.set_ylabel("cases")
    dots.set_ylabel(one.table.scores.metric)
    dots.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
    among = f" (the first {count} methods)" if count < len(one.order) else ""
    dots.set_title(f"Podium: every case, a line each{among}", fontsize=10)
    for panel in (dots, bars):
        tidy(panel)
        panel.set_xlim(-0.5, count - 0.5)
        for edge in np.arange(count - 1) + 0.5:
            panel.axvline(edge, color="0.8", linewidth=0.8)


def _significance(axis: Axes, one: Standing) -> None:
    names = _names(one)
    p = significance(one.table.field, "holm")[np.ix_(one.order, one.order)]
    count = len(names)
    shown = np.where(np.isnan(p), np.nan, (p <= 0.05).astype(float))
    axis.imshow(shown, cmap=ListedColormap(["0.93", GREEN]), vmin=0, vmax=1)
    if count <= _FEW:
        for i in range(count):
            for j in range(count):
                if i != j:
                    text = "<.001" if p[i, j] < 0.001 else f"{p[i, j]:.2g}".removeprefix("0")
                    axis.text(j, i, text, ha="center", va="center", fontsize=8,
                              color="white" if shown[i, j] else "0.4")  # fmt: skip
    _below(axis, names)
    axis.set_yticks(range(count), names, fontsize=9)
    axis.set_title("Green: row better than column\n(one-sided Wilcoxon, Holm, p <= 0.05)", fontsize=10)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _schemes(axis: Axes, one: Standing) -> None:
    count, names = len(one.order), list(SCHEMES)
    axis.set_prop_cycle(color=colours(count))
    # Ties would hide each other: lines lie a little apart.
    apart = (np.arange(count) - (count - 1) / 2) * (0.3 / count)
    for k, method in enumerate(one.order):
        ranks = [one.rankings[name].ranks[method] + apart[k] for name in names]
        label = short(one.table.scores.methods[method])
        axis.plot(range(len(names)), ranks, "o-", markersize=6, linewidth=1.8, label=label)
    _ranks_down(axis, count)
    axis.set_xticks(range(len(names)), [name.replace("_then_", "\nthen ") for name in names], fontsize=8)
    axis.legend(
        fontsize=9 if count <= _FEW else 7, frameon=False, loc="upper left",
        bbox_to_anchor=(1.0, 1.0), borderaxespad=0,
    )  # fmt: skip
    axis.set_ylabel("rank")
    axis.set_title("What other schemes would say", fontsize=10)
    tidy(axis)


# ---- stability of all -----------------------------------------------------------------------------


def draw_tau(found: Sequence[Standing]) -> Figure:
    """Kendall's tau between the ranking of all cases and those of bootstrap samples, as violins."""
    drawn = [one.stability.tau[~np.isnan(one.stability.tau)] for one in found]
    figure = Figure(figsize=(min(18.0, 3.5 + 0.9 * len(found)), 4.6), layout="constrained")
    axis = figure.subplots()
    for k, tau in enumerate(drawn):
        if not len(tau):
            text = "all methods tie"
            axis.text(k, 0.5, text, ha="center", va="center", rotation=90, color=GREY, fontsize=9)
            continue
        if np.ptp(tau) > 0:
            body = axis.violinplot(tau, [k], widths=0.75, showextrema=False)["bodies"]
            for shape in body:  # type: ignore[attr-defined]
                shape.set(facecolor=SKY, alpha=0.7, edgecolor="none")
        low, middle, high = np.quantile(tau, [0.25, 0.5, 0.75])
        axis.plot([k, k], [low, high], color=BLACK, linewidth=4, solid_capstyle="butt")
        axis.plot(k, middle, "o", color="white", markeredgecolor=BLACK, markersize=7)
        axis.plot(k, tau.mean(), "D", color=VERMILION, markeredgecolor="white", markersize=6)
    _below(axis, [short(one.title, 60) for one in found])
    axis.set_xlim(-0.7, len(found) - 0.3)
    axis.set_ylim(-1.05, 1.05)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylabel("Kendall's tau")
    legend = "1: always; bar: quartiles, o: median, diamond: mean"
    axis.set_title(f"Does the order hold on other patients?\n({legend})", fontsize=10)
    tidy(axis)
    axis.grid(axis="x", visible=False)
    return figure
