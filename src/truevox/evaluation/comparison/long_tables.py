"""Scores of several methods from one long table, as challenges publish them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from truevox.cohort.cells import is_missing
from truevox.errors import CaseError, FileError, SettingsError
from truevox.evaluation.comparison.cells import (
    check_range,
    expect_one_spelling,
    infinite_is_missed,
    number,
    read_rows,
)
from truevox.evaluation.comparison.missing import Scores

if TYPE_CHECKING:
    from truevox.metrics import Definition

__all__ = ["read_long_table"]

_ALSO_CALLED = {"dsc": "dice", "dice_score": "dice", "f1": "dice", "iou": "jaccard", "hausdorff": "hd"}
_ALSO_CALLED |= {"hausdorff_distance": "hd", "hausdorff95": "hd95", "asd": "assd", "recall": "sensitivity"}
_PERCENT = 100.0


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
        Their columns. An empty value, ``NA`` or NaN is undefined; an infinite one (the distance to an empty
        mask) is missed; a row that is not there is absent. All three get the worst value, unless a case is
        undefined for all methods: it is left out.
    task : str, optional
        Column of the task (or label); each is compared by itself.
    patient : str, optional
        Column of the patient; by default what stands before the first ``/`` of the case.
    better : {"higher", "lower"}
    low, high : float
        Range of the value: its bad end stands in for missing values. If none is given, and the column is
        called as a known metric is (``dice``, ``DSC``), it is that of the metric, or of per cent.

    Returns
    -------
    list of Scores
        One per task.

    Raises
    ------
    FileError
        If a column is not there, or a value is no number.
    CaseError
        If a method has a case twice, a value is outside of the range, names are spelled in two ways, or
        values of one method are fractions and those of another percentages; if there are no two methods.
    SettingsError
        If the direction contradicts the name of the metric.

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
    listed: list[tuple[int, str, float]] = []
    _expect_direction(value, better)
    for line, row in enumerate(table, start=2):
        lacking = next((name for name in needed if name not in row), None)
        if lacking is not None:
            raise FileError(
                f"Row {line} lacks '{lacking}'.", file=file, got=", ".join(map(str, row)),
                remedy="give every row the same columns",
            )  # fmt: skip
        blank = next((name for name in (*parts, method) if _is_blank(row[name])), None)
        if patient and (_is_blank(row[patient]) or is_missing(str(row[patient]).strip())):
            blank = patient
        if blank is not None:
            raise FileError(
                f"Row {line} has an empty '{blank}'.", file=file, remedy="fill the cell, or take the row out"
            )
        which = "" if not task or row[task] is None else str(row[task])
        name = "/".join(str(row[part]) for part in parts)
        cells = tasks.setdefault(which, {})
        if (str(row[method]), name) in cells:
            raise CaseError(
                f"Row {line} gives '{row[method]}' a second value.",
                case=name,
                file=file,
                remedy="name the column of the task (--task), or all columns that make a case",
            )
        cells[str(row[method]), name] = number(row[value], file, line, name)
        listed.append((line, name, cells[str(row[method]), name]))
        whose = str(row[patient]).strip() if patient else name.split("/")[0]
        if owner.setdefault((which, name), whose) != whose:
            raise CaseError(
                f"Row {line} gives the case a second patient.", case=name, file=file,
                got=f"{whose}, and {owner[which, name]}", remedy="name all columns that make a case (--case)",
            )  # fmt: skip
    low, high = _range_of_name(value, low, high, [x for _, _, x in listed])
    check_range(listed, low, high, value, file)
    for which, cells in tasks.items():
        _expect_direction(which, better)
        _expect_names(cells, file)
        _expect_one_scale(cells, better, file)
    made = [
        _long_scores(which, cells, owner, value, better, low, high, file) for which, cells in tasks.items()
    ]
    if not made:
        raise FileError("The table has no rows.", file=file, remedy="write a row for each case and method")
    return made


def _is_blank(cell: Any) -> bool:
    return cell is None or cell != cell or not str(cell).strip()


def _long_scores(
    task: str,
    cells: Mapping[tuple[str, str], float],
    owner: Mapping[tuple[str, str], str],
    value: str,
    better: Literal["higher", "lower"],
    low: float,
    high: float,
    file: Path,
) -> Scores:
    methods = tuple(dict.fromkeys(name for name, _ in cells))
    cases = tuple(dict.fromkeys(name for _, name in cells))
    if len(methods) < 2:
        raise CaseError(
            "A comparison needs two methods.",
            file=file,
            got=", ".join(methods),
            remedy="name their column: --method",
        )
    values = np.array([[cells.get((m, c), np.nan) for c in cases] for m in methods])
    there = np.array([[(m, c) in cells for c in cases] for m in methods])
    status = np.where(there, np.where(np.isnan(values), "undefined", "ok"), "absent")
    infinite_is_missed(values, status, better, cases, file)
    patients = tuple(owner[task, name] for name in cases)
    best = high if better == "higher" else low
    return Scores(
        task, value, "", value, better, low, high, best, methods, cases, patients, values, status,
        known_empty=False,
    )  # fmt: skip


def _expect_names(cells: Mapping[tuple[str, str], float], file: Path) -> None:
    methods = dict.fromkeys(method for method, _ in cells)
    of_method = {method: [case for one, case in cells if one == method] for method in methods}
    # Two methods are no two sources of one list: any two that are spelled nearly alike are one.
    expect_one_spelling({f"column {k}": [name] for k, name in enumerate(methods)}, "method", file)
    expect_one_spelling(of_method, "case", file)


def _known_by(name: str) -> Definition | None:
    """The metric that a column or task is called after."""
    from truevox.metrics import definition

    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    try:
        return definition(_ALSO_CALLED.get(plain, plain))
    except SettingsError:
        return None


def _range_of_name(name: str, low: float, high: float, values: Iterable[float]) -> tuple[float, float]:
    """The range that was given, else that of the metric that a column is called after, if all values fit."""
    metric = _known_by(name)
    if metric is None or np.isfinite([low, high]).any():
        return low, high
    finite = [x for x in values if np.isfinite(x)]
    for scale in (1.0, _PERCENT):
        ends = metric.low * scale, metric.high * scale
        if all(ends[0] <= x <= ends[1] for x in finite):
            return ends
    return low, high


def _expect_direction(name: str, better: str) -> None:
    """Refuse a direction that contradicts a metric that is known by the name of its column or task."""
    metric = _known_by(name)
    known = "none" if metric is None else metric.better
    if known in ("higher", "lower") and known != better:
        raise SettingsError(
            f"Of '{name}' the {'small' if known == 'lower' else 'large'} values are good.",
            got=f"{better} is better",
            expected=f"{known} is better",
            remedy="give --lower-better" if known == "lower" else "leave --lower-better out",
        )


def _expect_one_scale(cells: Mapping[tuple[str, str], float], better: str, file: Path) -> None:
    """Refuse fractions of one method beside percentages of another."""
    if better != "higher":
        return
    largest: dict[str, float] = {}
    middle: dict[str, list[float]] = {}
    for (method, _), x in cells.items():
        if np.isfinite(x):
            largest[method] = max(largest.get(method, 0.0), abs(x))
            middle.setdefault(method, []).append(abs(x))
    fractions = [method for method, x in largest.items() if x <= 1]
    percents = [m for m, x in largest.items() if 1 < x <= _PERCENT and np.median(middle[m]) > _PERCENT / 10]
    if fractions and percents:
        one, two = fractions[0], percents[0]
        raise CaseError(
            "Values of some methods look like fractions, those of others like percentages.",
            file=file,
            got=f"'{one}' up to {largest[one]:g}, '{two}' up to {largest[two]:g}",
            remedy="divide the percentages by 100, and give the range: --range 0:1",
        )
