"""Every pair of methods: mean difference with its interval, effect, test, equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.missing import Resolved
from truevox.evaluation.statistics.by_patient import (
    Interval,
    mean_interval,
    of_patients,
    proportion_interval,
    share_interval,
)
from truevox.evaluation.statistics.effects import (
    probability_of_superiority,
    rank_biserial,
    rank_biserial_left_out,
)
from truevox.evaluation.statistics.equivalence import tost
from truevox.evaluation.statistics.intervals import Resamples, bootstrap, mean_of
from truevox.evaluation.statistics.paired import (
    PairedTest,
    adjusted,
    draws_for,
    friedman,
    paired_test,
    permutations,
)
from truevox.evaluation.statistics.signed_ranks import paired_differences

__all__ = ["DIFFERENCE_COLUMNS", "FRIEDMAN_COLUMNS", "differences", "friedman_rows", "pairs_of"]

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

    Differences are first minus second, of the means of all scans; intervals and tests are by patient. An
    effect above 0 and a superiority above 1/2 mean that the first is better, also where less is better.

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
    kept = [table for table in tables if table.patients]
    draws = analysis.draws or draws_for(sum(pairs_of(table) for table in kept), analysis.alpha)
    rows = [row for table in kept for row in _rows(table, analysis, draws)]
    for row, p in zip(rows, adjusted([row["p"] for row in rows], analysis.correction), strict=True):
        row["p_adjusted"] = float(p)
    return rows


def pairs_of(table: Resolved) -> int:
    """How many pairs of methods a table has."""
    count = len(table.scores.methods)
    return count * (count - 1) // 2


def _rows(table: Resolved, analysis: Analysis, draws: int) -> list[dict[str, Any]]:
    scores, values, patients = table.scores, table.values, table.field.patient_of
    pairs = list(combinations(range(len(scores.methods)), 2))
    differences = [paired_differences(values[i], values[j]) for i, j in pairs]
    filled = (table.worst_at | table.best_at).sum(1)
    margin = analysis.margins.get(scores.metric, analysis.margins.get(scores.definition))
    rows = []
    tests = _tests(table, pairs, differences, analysis, draws)
    for (i, j), d, test in zip(pairs, differences, tests, strict=True):
        mean, effect, superiority = _intervals(table, d, analysis)
        same = None
        if margin is not None:
            same = tost(values[i], values[j], margin, patients=patients, alpha=analysis.alpha)
        rows.append({
            "label": scores.label, "metric": scores.compared, "unit": scores.unit,
            "definition": scores.definition, "better": scores.better,
            "first": scores.methods[i], "second": scores.methods[j],
            "n": len(table.cases), "patients": table.field.patients, "dropped": table.dropped,
            "filled": int(filled[i] + filled[j]),
            # What sums of tied differences leave is noise, not a difference.
            "mean_difference": float(np.round(mean.value, 15)) + 0.0,
            "ci_low": mean.low, "ci_high": mean.high,
            "median_difference": float(np.median(d)),
            "effect": effect.value, "effect_low": effect.low, "effect_high": effect.high,
            "superiority": superiority.value, "test": test.name, "p": test.p, "p_adjusted": test.p,
            "margin": margin, "p_equivalence": None if same is None else same.p,
            "equivalent": None if same is None else same.equivalent,
        })  # fmt: skip
    return rows


def _tests(
    table: Resolved,
    pairs: Sequence[tuple[int, int]],
    differences: Sequence[NDArray[np.float64]],
    analysis: Analysis,
    draws: int,
) -> list[PairedTest]:
    patients = table.field.patient_of
    if not pairs:
        return []
    if analysis.test == "permutation":
        # The same flips for all pairs: many draws cost little more than few.
        return permutations(np.stack(differences), patients=patients, draws=draws, seed=analysis.seed)
    values = table.values
    return [paired_test(analysis.test, values[i], values[j], patients=patients) for i, j in pairs]


def _intervals(
    table: Resolved, differences: NDArray[np.float64], analysis: Analysis
) -> tuple[Interval, Interval, Interval]:
    """Mean difference, rank-biserial correlation and probability of superiority of a pair."""
    sign = 1.0 if table.field.better == "higher" else -1.0
    patients, level = table.field.patient_of, 1 - analysis.alpha
    ahead = sign * paired_differences(of_patients(differences, patients), np.zeros(table.field.patients))
    effect = rank_biserial(ahead)
    if analysis.interval != "t":
        alone = Resamples(np.arange(len(ahead)), analysis.resamples, analysis.seed)
        found = bootstrap(
            [effect, probability_of_superiority(ahead)], alone, method=analysis.interval, level=level
        )
        scans = Resamples(patients, analysis.resamples, analysis.seed)
        [mean] = bootstrap([mean_of(differences)], scans, method=analysis.interval, level=level)
        return mean, found[0], found[1]
    reach = table.scores.high - table.scores.low
    mean = mean_interval(differences, patients, level=level, low=-reach, high=reach)
    value = float(effect(np.ones((1, len(ahead))))[0])
    # From -1..1 to a share of 1 and back.
    pulls = np.nan_to_num((value - rank_biserial_left_out(ahead)) / 2)
    share = share_interval(
        (value + 1) / 2, pulls, len(ahead), level=level, effective=float((ahead != 0).sum())
    )
    biserial = Interval(value, 2 * share.low - 1, 2 * share.high - 1, share.n, share.patients, share.reason)
    return mean, biserial, proportion_interval((np.sign(ahead) + 1) / 2, level=level)


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
        entries = (table.scores.label, table.scores.compared, len(values), values.shape[1], statistic, p)
        rows.append(dict(zip(FRIEDMAN_COLUMNS, entries, strict=True)))
    return rows
