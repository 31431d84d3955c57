"""Reading the scores of several methods from the folders of their evaluations."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from truevox.errors import CaseError, FileError, SettingsError
from truevox.evaluation.comparison.missing import Scores, patients_of

__all__ = [
    "EvaluationTable", "number", "patients_beside", "read_evaluation", "read_patients", "read_rows",
    "scores_of", "volumes_of",
]  # fmt: skip

_NEEDED = ("case", "label", "metric", "value", "status", "definition")
_FAILED = ("failed", "absent")


@dataclass(frozen=True)
class EvaluationTable:
    """The ``metrics.csv`` of one method.

    Parameters
    ----------
    name : str
        Of the method.
    file : Path
    rows : tuple of dict
        Cells are text, but ``value`` is a float.
    """

    name: str
    file: Path
    rows: tuple[dict[str, Any], ...]


def read_rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    r"""Rows of a CSV file that has these columns.

    Raises
    ------
    FileError
        If it can't be read, lacks a column, or a row is cut off.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = file.write_text("case,value\np07,0.5\n")
    >>> read_rows(file, ["case"])
    [{'case': 'p07', 'value': '0.5'}]
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            columns = list(table.fieldnames or ())
            lacking = [name for name in needed if name not in columns]
            if lacking:
                raise FileError(
                    f"The table lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}.",
                    file=file,
                    got=", ".join(columns) or "an empty file",
                )
            rows = list(table)
    except OSError as error:
        raise FileError(f"The file can't be read: {error.strerror}.", file=file) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"The file is no CSV table: {error}.", file=file) from error
    for number, row in enumerate(rows, start=2):
        if None in row or any(cell is None for cell in row.values()):
            raise FileError(
                f"Row {number} has another number of cells than the header.",
                file=file,
                remedy="write the table again; it may have been cut off",
            )
    return rows


def read_evaluation(name: str, folder: str | Path) -> EvaluationTable:
    """The metrics of an evaluation.

    Parameters
    ----------
    name : str
        Of the method.
    folder : path
        As ``truevox evaluate --out`` writes it, or its ``metrics.csv``.

    Raises
    ------
    FileError
        If there is no ``metrics.csv``, or it is damaged.
    CaseError
        If a score is there twice.
    """
    place = Path(folder)
    file = place / "metrics.csv" if place.is_dir() or place.suffix != ".csv" else place
    if not file.exists():
        raise FileError(
            f"'{name}' is no evaluation: it has no metrics.csv.",
            file=place,
            remedy="score its predictions first: truevox evaluate PREDICTIONS REFERENCES --out FOLDER",
        )
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for line, row in enumerate(read_rows(file, _NEEDED), start=2):
        key = (row["case"], row.get("output", ""), row["label"], row["metric"])
        if key in seen:
            raise CaseError(
                f"Row {line} gives {row['metric']} of '{row['label']}' a second time.",
                case=row["case"],
                file=file,
                remedy="evaluate again into an empty folder",
            )
        seen.add(key)
        rows.append(row | {"value": number(row["value"], file, line)})
    if not rows:
        raise FileError(f"The evaluation '{name}' has no rows.", file=file, remedy="evaluate again")
    return EvaluationTable(name, file, tuple(rows))


def number(cell: str, file: Path, row: int) -> float:
    """The number in a cell; NaN for an empty one and for ``NA``.

    Raises
    ------
    FileError
        If it is neither.

    Examples
    --------
    >>> number("0.5", Path("t.csv"), 2), number("NA", Path("t.csv"), 3)
    (0.5, nan)
    """
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        if cell.strip().lower() in ("na", "none", "null"):
            return float("nan")
        raise FileError(f"Row {row} has a value that is no number.", file=file, got=cell) from None


def read_patients(file: str | Path) -> dict[str, str]:
    r"""Case to patient, from a table with the columns ``case`` and ``patient``.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "patients.csv"
    >>> _ = file.write_text("case,patient\nscan1,p07\nscan2,p07\n")
    >>> read_patients(file)
    {'scan1': 'p07', 'scan2': 'p07'}
    """
    return {row["case"]: row["patient"] for row in read_rows(Path(file), ("case", "patient"))}


def patients_beside(tables: Sequence[EvaluationTable]) -> dict[str, str]:
    """Case to patient, from the ``cases.csv`` beside each table; else what stands before the first ``/``."""
    owners: dict[str, str] = {}
    for table in tables:
        file = table.file.with_name("cases.csv")
        if file.is_file():
            named = read_rows(file, ("case",))
            owners |= {row["case"]: row["patient"] for row in named if row.get("patient")}
    cases = dict.fromkeys(str(row["case"]) for table in tables for row in table.rows)
    return dict(zip(cases, patients_of(list(cases)), strict=True)) | owners


def scores_of(
    tables: Sequence[EvaluationTable],
    *,
    metrics: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    unit: Literal["patient", "case"] = "patient",
    patients: Mapping[str, str] | None = None,
    better: Mapping[str, str] | None = None,
) -> tuple[list[Scores], list[str]]:
    """Scores of every label and metric that all methods have, and remarks on what is left out.

    Parameters
    ----------
    tables : sequence of EvaluationTable
        Two or more.
    metrics, labels : sequence of str, optional
        Only these; a metric by its short name or id.
    unit : {"patient", "case"}
        Whether cases of one patient belong together.
    patients : mapping of case to patient, optional
        By default what stands before the first ``/`` of the case.
    better : mapping of metric to {"higher", "lower", "zero"}, optional
        Directions of metrics that this version does not know.

    Raises
    ------
    CaseError
        If the evaluations define a metric differently, or share nothing; if a case has no patient.
    SettingsError
        If a metric or label that is asked for is nowhere, or a direction is not known.
    """
    cells = _cells(tables)
    _expect(metrics, {name for _, name in cells} | {_definition(g) for g in cells.values()}, "metric")
    _expect(labels, {name for name, _ in cells}, "label")
    found: list[Scores] = []
    remarks: list[str] = []
    names = tuple(table.name for table in tables)
    for (label, metric), group in cells.items():
        if (labels and label not in labels) or (metrics and not {metric, _definition(group)} & set(metrics)):
            continue
        lacking = [name for name in names if name not in group]
        if lacking:
            remarks.append(f"{metric} of '{label}' is left out: {', '.join(lacking)} has none.")
            continue
        made = _scores(label, metric, group, names, tables, better or {})
        if made is not None:
            found.append(_with_patients(made, unit, patients))
    if not found:
        raise CaseError(
            "The evaluations have no label and metric in common.",
            got="; ".join(f"{t.name}: {', '.join(sorted({r['label'] for r in t.rows})[:4])}" for t in tables),
            remedy="evaluate all methods with the same label table and the same metrics",
        )
    return found, remarks


def volumes_of(
    tables: Sequence[EvaluationTable],
    names: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    unit: Literal["patient", "case"] = "patient",
    patients: Mapping[str, str] | None = None,
) -> list[Scores]:
    """Volumes and their differences, for tables of agreement: whatever all methods have of these metrics.

    Parameters
    ----------
    tables, labels, unit, patients
        As for :func:`scores_of`.
    names : sequence of str
        Short names of metrics.
    """
    methods = tuple(table.name for table in tables)
    found = []
    for (label, metric), group in _cells(tables).items():
        if metric not in names or (labels and label not in labels) or set(group) != set(methods):
            continue
        made = _scores(label, metric, group, methods, tables, {metric: "zero"})
        if made is not None:
            found.append(_with_patients(made, unit, patients))
    return found


_Group = dict[str, dict[str, dict[str, Any]]]


def _cells(tables: Sequence[EvaluationTable]) -> dict[tuple[str, str], _Group]:
    """Rows by label and metric, then by method, then by case."""
    joint = any(_several_outputs(table) for table in tables)
    cells: dict[tuple[str, str], _Group] = {}
    for table in tables:
        for row in table.rows:
            label = f"{row['output']}/{row['label']}" if joint and row.get("output") else row["label"]
            group = cells.setdefault((label, row["metric"]), {})
            group.setdefault(table.name, {})[row["case"]] = row
    return cells


def _several_outputs(table: EvaluationTable) -> bool:
    keys = {(row["label"], row.get("output", "")) for row in table.rows}
    return len(keys) > len({label for label, _ in keys})


def _definition(group: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    return next(str(row["definition"]) for rows in group.values() for row in rows.values())


def _expect(asked: Sequence[str] | None, known: set[str], what: str) -> None:
    for name in asked or ():
        if name not in known:
            raise SettingsError(f"No evaluation has the {what} '{name}'.", expected=", ".join(sorted(known)))


def _scores(
    label: str,
    metric: str,
    group: Mapping[str, Mapping[str, Mapping[str, Any]]],
    names: tuple[str, ...],
    tables: Sequence[EvaluationTable],
    better: Mapping[str, str],
) -> Scores | None:
    ids = {name: {str(row["definition"]) for row in group[name].values()} for name in names}
    if len(set().union(*ids.values())) > 1:
        raise CaseError(
            f"The evaluations define '{metric}' differently: their numbers can't be compared.",
            got="; ".join(f"{name}: {', '.join(sorted(one))}" for name, one in ids.items()),
            file=tables[-1].file,
            remedy="evaluate all methods with one definition, or choose other metrics",
        )
    [ident] = ids[names[0]]
    direction, low, high, best = _range(metric, ident, better)
    if direction == "none":
        return None
    cases = tuple(dict.fromkeys(case for name in names for case in group[name]))
    if not set.intersection(*(set(group[name]) for name in names)):
        raise CaseError(
            "The methods have no case in common.",
            got="; ".join(f"{name}: {', '.join(list(group[name])[:3])}, ..." for name in names),
            remedy="evaluate all methods on the same cases; names of cases must be the same",
        )
    rows = [[group[name].get(case) for case in cases] for name in names]
    values = np.array([[np.nan if r is None else r["value"] for r in line] for line in rows])
    status = np.array([["absent" if r is None else r["status"] for r in line] for line in rows])
    values[np.isin(status, _FAILED)] = np.nan
    unit = next(str(r.get("unit", "")) for line in rows for r in line if r is not None)
    return Scores(label, metric, unit, ident, direction, low, high, best, names, cases, (), values, status)


def _range(metric: str, ident: str, better: Mapping[str, str]) -> tuple[Any, float, float, float]:
    from truevox.metrics import definition

    given = better.get(metric) or better.get(ident)
    if given is not None and given not in ("higher", "lower", "zero"):
        raise SettingsError(
            f"The direction of '{metric}' is not known.", got=given, expected="higher, lower or zero"
        )
    try:
        known = definition(ident)
    except SettingsError:
        if given is None:
            raise SettingsError(
                f"This version knows no metric '{ident}', so not whether more is better.",
                remedy=f"say it: --better {metric}=higher (or lower, or zero), or choose other --metrics",
            ) from None
        return given, -np.inf, np.inf, 0.0 if given == "zero" else np.nan
    return given or known.better, float(known.low), float(known.high), float(known.best)


def _with_patients(scores: Scores, unit: str, patients: Mapping[str, str] | None) -> Scores:
    if unit not in ("patient", "case"):
        raise SettingsError("There is no such unit.", got=unit, expected="patient or case")
    if unit == "case":
        named = list(scores.cases)
    elif patients is None:
        named = patients_of(scores.cases)
    else:
        unknown = [case for case in scores.cases if case not in patients]
        if unknown:
            raise CaseError(
                "The table of patients lacks cases.",
                case=unknown[0],
                got=f"{len(unknown)} of {len(scores.cases)} cases without a patient",
            )
        named = [patients[case] for case in scores.cases]
    return Scores(**{**vars(scores), "patients": tuple(named)})
