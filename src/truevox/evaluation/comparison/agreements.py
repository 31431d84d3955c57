"""Tables of agreement: mean and spread of each evaluation, Bland-Altman and ICC of volumes, human range."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from truevox.errors import SettingsError
from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.missing import Resolved, Scores
from truevox.evaluation.statistics.agreement import BlandAltman, bland_altman, icc
from truevox.evaluation.statistics.by_patient import mean_interval
from truevox.evaluation.statistics.signed_ranks import paired_differences

__all__ = [
    "AGREEMENT_COLUMNS", "DIFFERENCE_METRIC", "VOLUME_METRICS", "agreements", "volume_differences",
]  # fmt: skip

AGREEMENT_COLUMNS = (
    "label", "metric", "unit", "first", "second", "n", "patients", "mean", "sd", "bias", "bias_low",
    "bias_high", "lower", "lower_low", "lower_high", "upper", "upper_low", "upper_high", "icc", "icc_low",
    "icc_high", "human_difference", "human_low", "within_human_range",
)  # fmt: skip
"""Order of the columns of ``agreement.csv``."""
DIFFERENCE_METRIC = "volume_difference_ml"
"""The metric whose rows are differences of volumes, prediction minus reference."""
VOLUME_METRICS = ("volume_ml", "reference_volume_ml")
"""The metrics whose rows, if there are any, are volumes of prediction and reference."""
_HUMAN_MARGIN = 0.05
_REFERENCE = "reference"


def agreements(
    tables: Sequence[Resolved], volumes: Sequence[Scores], analysis: Analysis
) -> list[dict[str, Any]]:
    """A row for each evaluation and metric, and Bland-Altman of volumes, with the reference and in pairs.

    The mean and standard deviation of evaluations such as ``auto-rater1``, ``auto-rater2`` and
    ``rater1-rater2`` are the usual table of inter- and intra-rater agreement.

    Parameters
    ----------
    tables : sequence of Resolved
    volumes : sequence of Scores
        Of volumes and their differences, as read.
    analysis : Analysis

    Returns
    -------
    list of dict
        With ``AGREEMENT_COLUMNS``; what a row does not have is None.

    Raises
    ------
    SettingsError
        If the evaluation of human raters is none of those that are compared.
    """
    rows = [row for table in tables for row in _means(table, analysis)]
    by_metric = {(one.label, one.metric): one for one in volumes}
    for (label, metric), one in by_metric.items():
        if metric == DIFFERENCE_METRIC:
            pair = [by_metric.get((label, name)) for name in VOLUME_METRICS]
            rows += _volumes(one, pair[0], pair[1], analysis)
    return rows


def _row(scores: Scores, first: str, second: str | None, n: int, patients: int) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(AGREEMENT_COLUMNS)
    named = {"label": scores.label, "metric": scores.metric, "unit": scores.unit}
    return empty | named | {"first": first, "second": second, "n": n, "patients": patients}


# ---- raters -------------------------------------------------------------------------------------


def _means(table: Resolved, analysis: Analysis) -> list[dict[str, Any]]:
    scores, values = table.scores, table.values
    if analysis.human is not None and analysis.human not in scores.methods:
        raise SettingsError(
            "The evaluation of human raters is not among those that are compared.",
            got=analysis.human,
            expected=", ".join(scores.methods),
            remedy="human= (--human) is the name of one of these evaluations",
        )
    rows = []
    for k, name in enumerate(scores.methods):
        row = _row(scores, name, None, values.shape[1], len(set(table.patients)))
        row["metric"] = scores.compared
        if values.shape[1]:
            row["mean"] = table.mean(k).value
            row["sd"] = float(values[k].std(ddof=1)) if values.shape[1] > 1 else None
            if analysis.human is not None and name != analysis.human:
                row |= _human(table, k, scores.methods.index(analysis.human), analysis)
        rows.append(row)
    return rows


def _human(table: Resolved, method: int, human: int, analysis: Analysis) -> dict[str, Any]:
    """Whether a method is no worse than raters are, by the lower end of the interval of their difference."""
    margin = analysis.margins.get(table.scores.metric)
    if margin is None and table.scores.unit in ("1", ""):
        margin = _HUMAN_MARGIN
    values = table.values
    sign = 1.0 if table.field.better == "higher" else -1.0
    ahead = sign * paired_differences(values[method], values[human])
    # One-sided: the lower end of an interval of level 1 - 2 alpha.
    found = mean_interval(ahead, table.field.patient_of, level=1 - 2 * analysis.alpha)
    within = None if margin is None or np.isnan(found.low) else bool(found.low >= -margin)
    return {"human_difference": found.value, "human_low": found.low, "within_human_range": within}


# ---- volumes ------------------------------------------------------------------------------------


def volume_differences(scores: Scores, first: int, second: int | None = None) -> list[int]:
    """Columns of the cases that have both differences (or the one of a method with its reference)."""
    there = ~np.isnan(scores.values[first])
    if second is not None:
        there &= ~np.isnan(scores.values[second])
    return np.flatnonzero(there).tolist()


def _volumes(
    differences: Scores, predicted: Scores | None, reference: Scores | None, analysis: Analysis
) -> list[dict[str, Any]]:
    names = differences.methods
    rows = []
    # Both differ from one reference: the difference of two differences is that of the volumes.
    for i, j in [*((i, None) for i in range(len(names))), *combinations(range(len(names)), 2)]:
        row = _bland_altman_row(differences, i, j, analysis)
        if row is None:
            continue
        if predicted is not None and (j is not None or reference is not None):
            other = reference.values[i] if j is None and reference is not None else predicted.values[j or 0]
            kept = volume_differences(differences, i, j)
            row |= _icc(np.stack([predicted.values[i], other])[:, kept], row["patients"], analysis)
        rows.append(row)
    return rows


def _bland_altman_row(scores: Scores, i: int, j: int | None, analysis: Analysis) -> dict[str, Any] | None:
    kept = volume_differences(scores, i, j)
    if not kept:
        return None
    patients = [scores.patients[k] for k in kept]
    other = np.zeros(len(kept)) if j is None else scores.values[j, kept]
    found = bland_altman(scores.values[i, kept], other, patients=patients, level=1 - analysis.alpha)
    second = _REFERENCE if j is None else scores.methods[j]
    return _row(scores, scores.methods[i], second, found.n, found.patients) | _limits(found)


def _limits(found: BlandAltman) -> dict[str, Any]:
    entries: dict[str, Any] = {"mean": found.bias.value, "sd": found.sd}
    for name in ("bias", "lower", "upper"):
        one = getattr(found, name)
        entries |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return entries


def _icc(measured: np.ndarray, patients: int, analysis: Analysis) -> dict[str, float]:
    """ICC(A,1): how far the volumes can stand in for each other.

    NaN where a volume misses; without an interval where patients have several scans: it is made for one each.
    """
    if np.isnan(measured).any():
        return dict.fromkeys(("icc", "icc_low", "icc_high"), float("nan"))
    found = icc(measured, level=1 - analysis.alpha).agreement
    alone = patients == measured.shape[1]
    nan = float("nan")
    return {
        "icc": found.value, "icc_low": found.low if alone else nan, "icc_high": found.high if alone else nan
    }  # fmt: skip
