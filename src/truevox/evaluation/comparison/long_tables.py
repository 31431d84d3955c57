"""Scores of several methods from one long table, as challenges publish them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from truevox.errors import CaseError, FileError
from truevox.evaluation.comparison.missing import Scores
from truevox.evaluation.comparison.score_tables import number, read_rows

__all__ = ["read_long_table"]


def read_long_table(
    rows: str | Path | Iterable[Mapping[str, Any]],
    *,
    case: str = "case",
    method: str = "method",
    value: str = "value",
    task: str | None = None,
    patient: str | None = None,
    better: Literal["higher", "lower"] = "higher",
    low: float = -np.inf,
    high: float = np.inf,
) -> list[Scores]:
    """Scores from a table with one row per task, case and method.

    Parameters
    ----------
    rows : path of a CSV file, or rows
    case : str
        Its column; several joined by commas make one name (``"patient,slice"`` gives ``p07/s3``).
    method, value : str
        Their columns. An empty value, ``NA`` or NaN is a case that failed.
    task : str, optional
        Column of the task (or label); each is compared by itself.
    patient : str, optional
        Column of the patient; by default what stands before the first ``/`` of the case.
    better : {"higher", "lower"}
    low, high : float
        Range of the value: its bad end stands in for missing values.

    Returns
    -------
    list of Scores
        One per task.

    Raises
    ------
    FileError
        If a column is not there, or a value is no number.
    CaseError
        If a method has a case twice; if there are no two methods.

    Examples
    --------
    >>> rows = [{"case": c, "method": m, "value": v} for c, m, v in
    ...         [("p1", "a", 0.8), ("p1", "b", 0.7), ("p2", "a", 0.9), ("p2", "b", "NA")]]
    >>> read_long_table(rows)[0].values.tolist()
    [[0.8, 0.9], [0.7, nan]]
    """
    parts = [name.strip() for name in case.split(",")]
    needed = [*parts, method, value, *(name for name in (task, patient) if name)]
    file = Path(rows) if isinstance(rows, (str, Path)) else Path("rows")
    table = read_rows(file, needed) if isinstance(rows, (str, Path)) else [dict(row) for row in rows]
    tasks: dict[str, dict[tuple[str, str], float]] = {}
    owner: dict[tuple[str, str], str] = {}
    for line, row in enumerate(table, start=2):
        which = str(row[task]) if task else ""
        name = "/".join(str(row[part]) for part in parts)
        cells = tasks.setdefault(which, {})
        if (str(row[method]), name) in cells:
            raise CaseError(
                f"Row {line} gives '{row[method]}' a second value.",
                case=name,
                file=file,
                remedy="name the column of the task (--task), or all columns that make a case",
            )
        cells[str(row[method]), name] = number(str(row[value]), file, line)
        owner[which, name] = str(row[patient]) if patient else name.split("/")[0]
    made = [_long_scores(which, cells, owner, value, better, low, high) for which, cells in tasks.items()]
    if not made:
        raise FileError("The table has no rows.", file=file)
    return made


def _long_scores(
    task: str,
    cells: Mapping[tuple[str, str], float],
    owner: Mapping[tuple[str, str], str],
    value: str,
    better: Literal["higher", "lower"],
    low: float,
    high: float,
) -> Scores:
    methods = tuple(dict.fromkeys(name for name, _ in cells))
    cases = tuple(dict.fromkeys(name for _, name in cells))
    if len(methods) < 2:
        raise CaseError("A comparison needs two methods.", got=", ".join(methods))
    values = np.array([[cells.get((m, c), np.nan) for c in cases] for m in methods])
    there = np.array([[(m, c) in cells for c in cases] for m in methods])
    status = np.where(there, np.where(np.isnan(values), "failed", "ok"), "absent")
    patients = tuple(owner[task, name] for name in cases)
    best = high if better == "higher" else low
    return Scores(task, value, "", value, better, low, high, best, methods, cases, patients, values, status)
