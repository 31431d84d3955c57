"""The table at the top: means with intervals, and how many cases stand behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from truevox.errors import CaseError, SettingsError
from truevox.evaluation.comparison.missing import COUNTS, Missing, Resolved, Scores, resolve
from truevox.evaluation.comparison.score_tables import scores_from
from truevox.evaluation.statistics.by_patient import counted
from truevox.evaluation.summary import summary
from truevox.report.folder import Folder, Score
from truevox.report.words import metric_title, number, unit_suffix
from truevox.report.worst import better

__all__ = ["Block", "Cell", "headline"]

_COUNTS = {f"n_{word}": word for word in COUNTS}


@dataclass(frozen=True)
class Cell:
    """One metric of one method: texts for the page."""

    mean: str
    interval: str
    counted: str
    counts: tuple[str, ...]
    detail: str
    best: bool


@dataclass(frozen=True)
class Block:
    """One structure: metrics across, methods down.

    Parameters
    ----------
    structure : str
    metrics : list of (title, unit suffix, arrow, definition)
    rows : list of (method index, cells)
        A cell is None where a method has no such metric.
    """

    structure: str
    metrics: list[tuple[str, str, str, str]]
    rows: list[tuple[int, list[Cell | None]]]


def headline(folders: Sequence[Folder], missing: Missing = "worst") -> list[Block]:
    """A block for each structure, in order of appearance.

    One method has the numbers of its ``summary.json``. Several have those of their comparison: what stands in
    for a missing value is the same in all tables, so that failing never beats trying
    (:func:`truevox.evaluation.comparison.missing.resolve`).

    The best mean of two methods or more is marked, if all are of the same cases. Whether it is better by more
    than chance is for the comparison to say.
    """
    found: dict[str, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for position, folder in enumerate(folders):
        for row in folder.summary if len(folders) == 1 else _by_patient(folder):
            name = folder.structure(str(row.get("output", "")), str(row.get("label", "")))
            found.setdefault(name, {}).setdefault(str(row.get("metric", "")), {})[position] = row
    scores = _by_metric(folders) if len(folders) > 1 else {}
    for name, metrics in found.items():
        for metric, rows in metrics.items():
            groups = {k: scores.get((k, name, metric), {}) for k in rows}
            rows.update(_compared(name, metric, folders, rows, groups, missing))
            if len(rows) > 1 and not _same_cases(rows, groups):
                rows.update({k: {**row, "apart": True} for k, row in rows.items()})
    return [_block(name, metrics, len(folders)) for name, metrics in found.items()]


def _by_patient(folder: Folder) -> list[dict[str, Any]]:
    """The summary again: a comparison may know patients better than the evaluation did."""
    scores = ({**vars(one), "patient": folder.patient(one.case)} for one in folder.scores)
    return [one.as_row() for one in summary(scores)]


def _same_cases(rows: Mapping[int, Mapping[str, Any]], groups: Mapping[int, Mapping[str, Score]]) -> bool:
    """Whether means are of the same cases and of one definition, so that one may be called the best."""
    if all(row.get("filled") for row in rows.values()):
        return True
    valued = [
        {(case, one.definition) for case, one in own.items() if not math.isnan(one.value)}
        for own in groups.values()
    ]
    return all(one == valued[0] for one in valued)


def _by_metric(folders: Sequence[Folder]) -> dict[tuple[int, str, str], dict[str, Score]]:
    found: dict[tuple[int, str, str], dict[str, Score]] = {}
    for position, folder in enumerate(folders):
        for one in folder.scores:
            key = (position, folder.structure(one.output, one.label), one.metric)
            found.setdefault(key, {})[one.case] = one
    return found


def _compared(
    name: str,
    metric: str,
    folders: Sequence[Folder],
    rows: Mapping[int, Mapping[str, Any]],
    groups: Mapping[int, Mapping[str, Score]],
    missing: Missing,
) -> dict[int, Mapping[str, Any]]:
    """Rows of several methods with gaps filled; none where they can't be compared."""
    if len(rows) < 2 or not all(groups.values()):
        return {}
    group = {str(k): {case: vars(one) for case, one in own.items()} for k, own in groups.items()}
    files: dict[str, Path] = {str(k): folders[k].path / "metrics.csv" for k in groups}
    try:
        made = scores_from(name, metric, group, files, {})
    except (CaseError, SettingsError):
        return {}
    if made is None:
        return {}
    named = [folder.patients for k, folder in enumerate(folders) if k in groups]
    owners = {case: patient for own in named for case, patient in own.items()}
    patients = tuple(owners.get(case) or case.partition("/")[0] for case in made.cases)
    table = resolve(Scores(**{**vars(made), "patients": patients}), missing)
    if not table.cases or made.better == "zero":
        return {}
    return {k: {**rows[k], **_numbers(table, position)} for position, k in enumerate(groups)}


def _numbers(table: Resolved, method: int) -> dict[str, Any]:
    values, found = table.values[method], table.mean(method)
    return {
        "mean": found.value, "median": float(np.median(values)),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "ci_low": found.low, "ci_high": found.high, "n": found.n, "patients": found.patients,
        "no_interval": found.reason, "filled": True,
        **{f"n_{word}": count for word, count in table.counts(method).items()},
    }  # fmt: skip


def _block(name: str, metrics: Mapping[str, Mapping[int, Mapping[str, Any]]], methods: int) -> Block:
    columns: list[tuple[str, str, str, str]] = []
    cells: dict[int, list[Cell | None]] = {position: [] for position in range(methods)}
    for metric, rows in metrics.items():
        first = next(iter(rows.values()))
        direction = better(metric, str(first.get("definition", "")))
        arrow = {"higher": "↑", "lower": "↓", "zero": "→ 0"}.get(direction, "")
        columns.append(
            (
                metric_title(metric),
                unit_suffix(str(first.get("unit", ""))),
                arrow,
                str(first.get("definition", "")),
            )
        )
        apart = any(row.get("apart") for row in rows.values())
        means = {position: row.get("mean") for position, row in rows.items()}
        best = set() if apart else _best(means, direction)
        for position, row_cells in cells.items():
            row = rows.get(position)
            row_cells.append(None if row is None else _cell(row, position in best))
    kept = [(position, row) for position, row in cells.items() if any(one is not None for one in row)]
    return Block(name, columns, kept)


def _best(means: Mapping[int, Any], direction: str) -> set[int]:
    known = {k: mean for k, mean in means.items() if isinstance(mean, (int, float)) and mean == mean}
    if len(known) < 2 or direction == "none":
        return set()
    badness = {
        position: -mean if direction == "higher" else abs(mean) if direction == "zero" else mean
        for position, mean in known.items()
    }
    least = min(badness.values())
    best = {position for position, bad in badness.items() if bad == least}
    return best if len(best) < len(known) else set()


def _cell(row: Mapping[str, Any], best: bool) -> Cell:
    low, high = row.get("ci_low"), row.get("ci_high")
    counts = tuple(f"{row[key]} {word}" for key, word in _COUNTS.items() if row.get(key))
    n, patients = row.get("n") or 0, row.get("patients")
    many = f"{n} cases" if patients is None else counted(n, patients)
    detail = f"median {number(row.get('median'))}, standard deviation {number(row.get('sd'))}, n = {many}"
    none = low is None or high is None or low != low
    reason = str(row.get("no_interval") or "")
    interval = (f"no interval: {reason}" if reason else "") if none else f"{number(low)} to {number(high)}"
    return Cell(number(row.get("mean")), interval, many, counts, detail, best)
