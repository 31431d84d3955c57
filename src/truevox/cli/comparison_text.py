"""What ``truevox compare`` prints: rankings, differences, agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from truevox.evaluation import Comparison

__all__ = ["report"]

_MOST = 60


def report(found: Comparison) -> str:
    """Rankings, differences and the rest, as plain tables."""
    parts = [ranking_table(found), difference_table(found)]
    for row in found.friedman:
        of = f"{row['metric']}{' of ' + repr(row['label']) if row['label'] else ''}"
        parts.append(
            f"Friedman, {of}: chi-squared {number(row['statistic'])}, p {p_value(row['p'])} "
            f"({row['methods']} methods, {row['patients']} patients)."
        )
    if found.overall:
        order = ", ".join(f"{row['rank']}. {row['method']}" for row in found.overall)
        parts.append(f"Over all labels and metrics, by mean rank: {order}.")
    agreement = agreement_table(found)
    return "\n\n".join([*parts[:2], *(["\n".join(parts[2:])] if parts[2:] else []), *agreement])


def ranking_table(found: Comparison) -> str:
    """Methods from best to worst."""
    from truevox.evaluation.comparison.missing import RULES
    from truevox.evaluation.statistics.by_patient import counted

    rows = [("label", "metric", "rank", "95 % of samples", "method", "mean", "median", "first", "n")]
    rows += [
        (
            row["label"], row["metric"], str(row["rank"]),
            "none" if row["rank_low"] is None else f"{row['rank_low']} to {row['rank_high']}",
            row["method"], number(row["mean"]), number(row["median"]),
            "" if row["wins"] is None else f"{100 * row['wins']:.0f} %",
            counted(row["n"], row["patients"]),
        )
        for row in found.ranking
    ]  # fmt: skip
    if len(rows) == 1:
        return "No ranking: nothing is left to compare."
    rule = RULES[found.settings["missing"]]
    return f"Ranking ({found.settings['scheme'].replace('_', ' ')}):\n{aligned(rows)}\n{rule}"


def difference_table(found: Comparison) -> str:
    """Pairs of methods."""
    from truevox.evaluation.statistics.by_patient import counted

    if not found.differences:
        return "No differences: nothing is left to compare."
    equivalence = any(row["equivalent"] is not None for row in found.differences)
    head = (
        "label",
        "metric",
        "first - second",
        "mean",
        "95 % interval",
        "effect",
        "p",
        "corrected",
        "equivalence",
    )
    rows: list[tuple[str, ...]] = [head]
    shown = list(found.differences)
    if len(shown) > _MOST:
        shown = sorted(shown, key=lambda row: math.inf if math.isnan(row["p"]) else row["p"])[:_MOST]
    for row in shown:
        same = {
            None: "",
            True: f"equivalent within {row['margin']:g}" if row["margin"] else "",
            False: "not shown",
        }
        rows.append((
            row["label"], row["metric"], f"{row['first']} - {row['second']}",
            signed(row["mean_difference"]), between(row["ci_low"], row["ci_high"]),
            signed(row["effect"]), p_value(row["p"]), p_value(row["p_adjusted"]),
            same[row["equivalent"]] if equivalence else "",
        ))  # fmt: skip
    counts = sorted({(row["patients"], row["n"]) for row in found.differences})
    count = " to ".join(counted(n, patients) for patients, n in dict.fromkeys(counts[:1] + counts[-1:]))
    said = f"{found.settings['test']} test, {count}; correction: {found.settings['correction']}"
    rest = len(found.differences) - len(shown)
    more = f"\n... and {rest} more with larger p: see comparison.csv" if rest else ""
    return f"Differences ({said}; effect above 0: the first is better):\n{aligned(rows)}{more}"


def agreement_table(found: Comparison) -> list[str]:
    """Bland-Altman of volumes, and the range of human raters, where there are any."""
    from truevox.evaluation.statistics.by_patient import counted

    parts = []
    volumes = [row for row in found.agreement if row["bias"] is not None]
    if volumes:
        rows = [("label", "first - second", "bias (ml)", "95 % interval", "limits of agreement", "ICC", "n")]
        rows += [
            (
                row["label"], f"{row['first']} - {row['second']}", signed(row["bias"]),
                between(row["bias_low"], row["bias_high"]),
                f"{signed(row['lower'])} to {signed(row['upper'])}",
                "" if row["icc"] is None else number(row["icc"]), counted(row["n"], row["patients"]),
            )
            for row in volumes
        ]  # fmt: skip
        parts.append(f"Volumes (Bland-Altman):\n{aligned(rows)}")
    human = found.settings.get("human")
    if human:
        answers = {True: "yes", False: "no", None: "not known: no margin, or no interval"}
        rows = [("label", "metric", "evaluation", "mean", "sd", f"within the range of {human}")]
        rows += [
            (
                row["label"], row["metric"], row["first"], number(row["mean"]), number(row["sd"]),
                "" if row["first"] == human else answers[row["within_human_range"]],
            )
            for row in found.agreement
            if row["bias"] is None
        ]  # fmt: skip
        parts.append(f"Raters:\n{aligned(rows)}")
    return parts


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A plain table; a column that is empty all the way down is left out."""
    kept = [k for k in range(len(rows[0])) if any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in kept}
    return "\n".join("  ".join(row[k].ljust(widths[k]) for k in kept).rstrip() for row in rows)


def number(value: float | None) -> str:
    """Four significant digits."""
    return "nan" if value is None or math.isnan(value) else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Three significant digits and a sign."""
    return "nan" if value is None or math.isnan(value) else f"{value:+.3g}"


def between(low: float | None, high: float | None) -> str:
    """An interval; ``none`` where there is none.

    Examples
    --------
    >>> between(-0.1, 0.25), between(float("nan"), float("nan"))
    ('-0.1 to +0.25', 'none')
    """
    return "none" if low is None or math.isnan(low) else f"{signed(low)} to {signed(high)}"


def p_value(value: float) -> str:
    """Three digits; what is smaller than they show is said to be.

    Examples
    --------
    >>> p_value(0.04567), p_value(0.00001)
    ('0.0457', '<0.0001')
    """
    if math.isnan(value):
        return "nan"
    return "<0.0001" if value < 0.0001 else f"{value:.3g}"
