"""Every pair of methods: mean difference with its interval, effect, test, equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.missing import Resolved
from truevox.evaluation.statistics.effects import probability_of_superiority, rank_biserial
from truevox.evaluation.statistics.equivalence import tost
from truevox.evaluation.statistics.intervals import Interval, Resamples, bootstrap, mean_of
from truevox.evaluation.statistics.paired import adjusted, friedman, paired_test
from truevox.evaluation.statistics.signed_ranks import paired_differences

__all__ = ["DIFFERENCE_COLUMNS", "FRIEDMAN_COLUMNS", "differences", "friedman_rows"]

DIFFERENCE_COLUMNS = (
    "label", "metric", "unit", "definition", "better", "first", "second", "n", "patients", "dropped",
    "filled", "mean_difference", "ci_low", "ci_high", "median_difference", "effect", "effect_low",
    "effect_high", "superiority", "test", "p", "p_adjusted", "margin", "p_equivalence", "equivalent",
)  # fmt: skip
"""Order of the columns of ``comparison.csv``."""
FRIEDMAN_COLUMNS = ("label", "metric", "methods", "patients", "statistic", "p")
"""Of the tests that no method differs."""


def differences(tables: Sequence[Resolved], analysis: Analysis) -> list[dict[str, Any]]:
    """A row for each metric, label and pair of methods.

    Differences are first minus second, of the means of each patient. An effect above 0 and a superiority
    above 1/2 mean that the first is better, also where less is better.

    Parameters
    ----------
    tables : sequence of Resolved
    analysis : Analysis

    Returns
    -------
    list of dict
        With ``DIFFERENCE_COLUMNS``. p-values are corrected over all rows.

    Examples
    --------
    >>> from truevox.evaluation.comparison.long_tables import read_long_table
    >>> from truevox.evaluation.comparison.missing import resolve
    >>> rows = [{"case": f"p{k}", "method": m, "value": v + k / 10}
    ...         for k in range(6) for m, v in (("a", 0.2), ("b", 0.1))]
    >>> [row] = differences([resolve(one) for one in read_long_table(rows)], Analysis())
    >>> round(row["mean_difference"], 9), row["effect"], row["p"]
    (0.1, 1.0, 0.03125)
    """
    rows = [row for table in tables if table.patients for row in _rows(table, analysis)]
    for row, p in zip(rows, adjusted([row["p"] for row in rows], analysis.correction), strict=True):
        row["p_adjusted"] = float(p)
    return rows


def _rows(table: Resolved, analysis: Analysis) -> list[dict[str, Any]]:
    scores, values = table.scores, table.field.by_patient
    pairs = list(combinations(range(len(scores.methods)), 2))
    intervals = _intervals(table, [paired_differences(values[i], values[j]) for i, j in pairs], analysis)
    filled = (table.worst_at | table.best_at).sum(1)
    margin = analysis.margins.get(scores.metric, analysis.margins.get(scores.definition))
    rows = []
    for (i, j), (mean, effect, superiority) in zip(pairs, intervals, strict=True):
        test = paired_test(analysis.test, values[i], values[j], seed=analysis.seed)
        same = None if margin is None else tost(values[i], values[j], margin, alpha=analysis.alpha)
        rows.append({
            "label": scores.label, "metric": scores.metric, "unit": scores.unit,
            "definition": scores.definition, "better": scores.better,
            "first": scores.methods[i], "second": scores.methods[j],
            "n": len(table.cases), "patients": values.shape[1], "dropped": table.dropped,
            "filled": int(filled[i] + filled[j]),
            # What sums of tied differences leave is noise, not a difference.
            "mean_difference": float(np.round(mean.value, 15)) + 0.0,
            "ci_low": mean.low, "ci_high": mean.high,
            "median_difference": float(np.median(paired_differences(values[i], values[j]))),
            "effect": effect.value, "effect_low": effect.low, "effect_high": effect.high,
            "superiority": superiority.value, "test": test.name, "p": test.p, "p_adjusted": test.p,
            "margin": margin, "p_equivalence": None if same is None else same.p,
            "equivalent": None if same is None else same.equivalent,
        })  # fmt: skip
    return rows


def _intervals(
    table: Resolved, pairs: Sequence[NDArray[np.float64]], analysis: Analysis
) -> list[tuple[Interval, Interval, Interval]]:
    """Mean difference, rank-biserial correlation and probability of superiority of each pair."""
    sign = 1.0 if table.field.better == "higher" else -1.0
    wanted = [
        statistic
        for d in pairs
        for statistic in (mean_of(d), rank_biserial(sign * d), probability_of_superiority(sign * d))
    ]
    resamples = Resamples(np.arange(table.field.patients), analysis.resamples, analysis.seed)
    found = bootstrap(wanted, resamples, method=analysis.interval, level=1 - analysis.alpha)
    return [(found[k], found[k + 1], found[k + 2]) for k in range(0, len(found), 3)]


def friedman_rows(tables: Sequence[Resolved]) -> list[dict[str, Any]]:
    """Where there are more than two methods: the test that none of them differs.

    Examples
    --------
    >>> friedman_rows([])
    []
    """
    rows = []
    for table in tables:
        values = table.field.by_patient
        if len(values) < 3:
            continue
        statistic, p = friedman(values)
        entries = (table.scores.label, table.scores.metric, len(values), values.shape[1], statistic, p)
        rows.append(dict(zip(FRIEDMAN_COLUMNS, entries, strict=True)))
    return rows
