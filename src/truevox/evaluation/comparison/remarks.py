"""What the reader of a comparison should know first: gaps, what stands in for them, what can't be shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from truevox.evaluation.comparison.agreements import DIFFERENCE_METRIC, VOLUME_METRICS
from truevox.evaluation.comparison.analysis import Analysis
from truevox.evaluation.comparison.differences import pairs_of
from truevox.evaluation.comparison.missing import Resolved, Scores
from truevox.evaluation.statistics.by_patient import FEWEST
from truevox.evaluation.statistics.paired import EXACT_SIGNS, draws_for

__all__ = ["remarks_of"]

_EXACT = ("permutation", "wilcoxon", "sign", "mcnemar")
_WHY = {
    "failed": "failed",
    "absent": "without a row",
    "undefined": "undefined for this method only",
    "missed": "missed",
    "spurious": "spurious",
}


def remarks_of(tables: Sequence[Resolved], volumes: Sequence[Scores], analysis: Analysis) -> list[str]:
    """A sentence each; what is true of several metrics of a label is said once.

    Examples
    --------
    >>> remarks_of([], [], Analysis())
    []
    """
    tests = sum(pairs_of(table) for table in tables if table.patients)
    said: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        for text in (*_gaps(table), *_left_out(table, analysis), *_few(table, tests, analysis)):
            said.setdefault((table.scores.label, text), []).append(table.scores.metric)
    lines = []
    for (label, text), metrics in said.items():
        where = f"{', '.join(metrics)}{f' of {label!r}' if label else ''}"
        lines.append(f"{where}: {text}")
    if len({table.scores.methods for table in tables if table.patients}) > 1:
        lines.append("No order over all labels and metrics: they do not have the same methods.")
    return lines + _volumes(volumes)


def _gaps(table: Resolved) -> list[str]:
    lines = []
    for k, name in enumerate(table.scores.methods):
        status = table.scores.status[k, table.kept]
        replaced = table.worst_at[k]
        if replaced.any():
            why = [
                f"{count} {text}"
                for kind, text in _WHY.items()
                if (count := int((replaced & (status == kind)).sum()))
            ]
            lines.append(
                f"'{name}' gets the worst value, {_between(*table.worst)} ({table.worst_from}), for "
                f"{_cases(int(replaced.sum()))} ({', '.join(why)})."
            )
        if table.best_at[k].any():
            lines.append(
                f"'{name}' gets the best value, {table.scores.best:g}, for "
                f"{_cases(int(table.best_at[k].sum()))} where it rightly found nothing and another method "
                "did not."
            )
    return lines


def _left_out(table: Resolved, analysis: Analysis) -> list[str]:
    if not table.dropped:
        return []
    empty = int(((table.scores.status == "undefined").all(0) & ~table.kept).sum())
    lines = []
    if empty:
        lines.append(f"{_cases(empty)} left out: undefined for all methods.")
    if table.dropped > empty:
        why = "--missing drop" if analysis.missing == "drop" else "no method has a value"
        lines.append(f"{_cases(table.dropped - empty)} left out: not complete ({why}).")
    if not table.patients:
        lines.append("no case is left, so there is nothing to compare.")
    return lines


def _few(table: Resolved, tests: int, analysis: Analysis) -> list[str]:
    """Whether so few patients can show anything at all, and after the correction."""
    patients = len(set(table.patients))
    if 0 < patients < FEWEST:
        many = f"{patients} patient{'s' * (patients > 1)}"
        text = f"{many}: no interval is shown for fewer than {FEWEST}."
        return [text, *_least(patients, tests, analysis)]
    return _least(patients, tests, analysis)


def _least(patients: int, tests: int, analysis: Analysis) -> list[str]:
    if analysis.test not in _EXACT or not patients:
        return []
    least = min(1.0, 2.0 ** (1 - patients))
    if analysis.test == "permutation" and patients > EXACT_SIGNS:
        least = 1 / ((analysis.draws or draws_for(tests, analysis.alpha)) + 1)
    many = f"{patients} patient{'s' * (patients > 1)}"
    if least > analysis.alpha:
        return [f"{many}: no p-value of this test can be below {least:g}."]
    if analysis.correction != "none" and least * tests > analysis.alpha:
        more = (
            "give more --draws"
            if analysis.draws and patients > EXACT_SIGNS
            else "compare fewer methods or metrics"
        )
        return [
            f"{many} and {tests} tests: the smallest p-value there can be is {least:.2g}, and alone it is "
            f"{min(1.0, least * tests):.2g} after the correction; {more}."
        ]
    return []


def _volumes(volumes: Sequence[Scores]) -> list[str]:
    names = {one.metric for one in volumes}
    if DIFFERENCE_METRIC not in names:
        return []
    lines = []
    for one in volumes:
        gaps = int(sum(math.isnan(v) for v in one.values.ravel()))
        if one.metric == DIFFERENCE_METRIC and gaps:
            lines.append(
                f"Bland-Altman of '{one.label}': {gaps} missing difference{'s' * (gaps > 1)} of volumes "
                "left out; nothing stands in for them."
            )
    if not set(VOLUME_METRICS) <= names:
        lines.append(
            "The intraclass correlation of volumes is not available: the evaluations hold differences of "
            f"volumes, not volumes ({' and '.join(VOLUME_METRICS)})."
        )
    return lines


def _between(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _cases(count: int) -> str:
    return f"{count} case{'s' * (count != 1)}"
