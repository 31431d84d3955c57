"""Reading the scores of several methods from the folders of their evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from truevox.evaluation.comparison.missing import Scores, patients_of
from truevox.evaluation.comparison.patients import with_patients

__all__ = [
    "EvaluationTable", "patients_beside", "read_evaluation", "scores_from", "scores_of", "volumes_of",
]  # fmt: skip

_NEEDED = ("case", "label", "metric", "value", "status", "definition")
_VOLUMES = ("volume_ml", "reference_volume_ml")
_STATUS = ("ok", "undefined", "missed", "spurious", "failed")


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
    if not place.exists():
        raise FileError(
            f"There is no evaluation '{name}': nothing is at this place.", file=place,
            remedy="check the path, from the folder that you are in",
        )  # fmt: skip
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
                f"Row {line} gives {row['metric']} of '{row['label']}' a second time.", case=row["case"],
                file=file, remedy="evaluate again into an empty folder",
            )  # fmt: skip
        seen.add(key)
        numbers = {name: number(row.get(name), file, line, row["case"]) for name in ("value", "when_empty")}
        rows.append(row | numbers | {"status": _status(row, numbers["value"], file, line), "row": line})
    if not rows:
        raise FileError(f"The evaluation '{name}' has no rows.", file=file, remedy="evaluate again")
    return EvaluationTable(name, file, tuple(rows))


def _status(row: Mapping[str, str], value: float, file: Path, line: int) -> str:
    """As the table says; a number that is missing without a reason is undefined."""
    status = row["status"].strip()
    if status not in _STATUS:
        raise FileError(
            f"Row {line} has a status that is not known.", case=row["case"], file=file,
            got=status or "nothing", expected=", ".join(_STATUS), remedy="evaluate again with this version",
        )  # fmt: skip
    return "undefined" if status == "ok" and math.isnan(value) else status


def patients_beside(tables: Sequence[EvaluationTable]) -> dict[str, str]:
    """Case to patient: the column ``patient`` of the tables, that of the ``cases.csv`` beside them, else what
    stands before the first ``/`` of the case.

    Raises
    ------
    CaseError
        If two evaluations name two patients of a case.
    """
    owners: dict[str, tuple[str, str]] = {}
    for table in tables:
        file = table.file.with_name("cases.csv")
        named: list[Mapping[str, Any]] = list(table.rows)
        if file.is_file():
            named += read_rows(file, ("case",))
        for row in named:
            case, patient = str(row["case"]), str(row.get("patient") or "").strip()
            # What is before the slash is no news: another evaluation may know better.
            if is_missing(patient) or [patient] == patients_of([case]):
                continue
            known, where = owners.setdefault(case, (patient, table.name))
            if known != patient:
                raise CaseError(
                    "Two evaluations name two patients of one case.", case=case, file=table.file,
                    got=f"'{known}' ({where}), '{patient}' ({table.name})",
                    remedy="give one table: --patients case_to_patient.csv",
                )  # fmt: skip
    cases = dict.fromkeys(str(row["case"]) for table in tables for row in table.rows)
    found = dict(zip(cases, patients_of(list(cases)), strict=True))
    found |= {case: patient for case, (patient, _) in owners.items()}
    expect_one_spelling({"the evaluations": set(found.values())}, "patient")
    return found


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
    files = {table.name: table.file for table in tables}
    for (label, metric), group in cells.items():
        if (labels and label not in labels) or (metrics and not {metric, _definition(group)} & set(metrics)):
            continue
        lacking = [name for name in files if name not in group]
        if lacking:
            remarks.append(f"{metric} of '{label}' is left out: {', '.join(lacking)} has none.")
            continue
        made = scores_from(label, metric, group, files, better or {})
        if made is not None:
            found.append(with_patients(made, unit, patients))
        elif metric not in _VOLUMES:
            remarks.append(f"{metric} of '{label}' is left out: neither large nor small values are better.")
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
    files = {table.name: table.file for table in tables}
    found = []
    for (label, metric), group in _cells(tables).items():
        if metric not in names or (labels and label not in labels) or set(group) != set(files):
            continue
        made = scores_from(label, metric, group, files, {metric: "zero"})
        if made is not None:
            found.append(with_patients(made, unit, patients))
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
            raise SettingsError(
                f"No evaluation has the {what} '{name}'.",
                expected=", ".join(sorted(known)),
                remedy=f"leave '{name}' out, or evaluate the methods again with it",
            )


def scores_from(
    label: str,
    metric: str,
    group: Mapping[str, Mapping[str, Mapping[str, Any]]],
    files: Mapping[str, Path],
    better: Mapping[str, str],
) -> Scores | None:
    """Scores of one metric of one label; None for a metric without a direction.

    Parameters
    ----------
    label, metric : str
    group : mapping of method to mapping of case to row
        Rows as in ``metrics.csv``, their ``value`` and ``when_empty`` as floats.
    files : mapping of method to path
        For messages, and for the order of the methods.
    better : mapping of metric to direction

    Raises
    ------
    CaseError
        If definitions differ, no case is shared, names are spelled in two ways, or a value is out of range.
    """
    from truevox.metrics.pixels import SUFFIX

    names = tuple(files)
    ids = {name: {str(row["definition"]) for row in group[name].values()} for name in names}
    known = set().union(*ids.values())
    if len({one.removesuffix(SUFFIX) for one in known}) < len(known):
        counted = {one.endswith(SUFFIX): name for name in names for one in ids[name]}
        raise CaseError(
            f"'{metric}' is in pixels in one evaluation and in millimetres in another.",
            got=f"pixels: {counted[True]}; millimetres: {counted[False]}", file=files[counted[True]],
            remedy="give the files of the one a spacing, or those of the other none, and evaluate again",
        )  # fmt: skip
    if len(known) > 1:
        raise CaseError(
            f"The evaluations define '{metric}' differently: their numbers can't be compared.",
            got="; ".join(f"{name}: {', '.join(sorted(one))}" for name, one in ids.items()),
            file=files[names[-1]],
            remedy="evaluate all methods with one definition, or choose other metrics",
        )
    [ident] = known
    direction, low, high, best = _range(metric, ident, better)
    if direction == "none":
        return None
    for name, file in files.items():
        listed = [(row.get("row", 0), case, row["value"]) for case, row in group[name].items()]
        check_range(listed, low, high, metric, file)
    expect_one_spelling({name: group[name] for name in names}, "case")
    cases = tuple(dict.fromkeys(case for name in names for case in group[name]))
    if not set.intersection(*(set(group[name]) for name in names)):
        raise CaseError(
            "The methods have no case in common.",
            got="; ".join(f"{name}: {', '.join(list(group[name])[:3])}, ..." for name in names),
            remedy="evaluate all methods on the same cases; names of cases must be the same",
        )
    rows = [[group[name].get(case) for case in cases] for name in names]
    values = np.array([[np.nan if r is None else r["value"] for r in line] for line in rows])
    status = np.array([["absent" if r is None else r["status"] for r in line] for line in rows], dtype="<U9")
    values[np.isin(status, ("failed", "absent"))] = np.nan
    infinite_is_missed(values, status, direction, cases, files[names[0]])
    # One reference, so one number; what differs by rounding is the same.
    empty = np.array([[np.nan if r is None else r.get("when_empty", np.nan) for r in line] for line in rows])
    known = ~np.isnan(empty).all(0)
    when_empty = np.full(len(cases), np.nan)
    when_empty[known] = np.nanmax(empty[:, known], axis=0)
    unit = next(str(r.get("unit", "")) for line in rows for r in line if r is not None)
    return Scores(
        label, metric, unit, ident, direction, low, high, best, names, cases, (), values, status, when_empty
    )


def _range(metric: str, ident: str, better: Mapping[str, str]) -> tuple[Any, float, float, float]:
    from truevox.metrics import definition

    given = better.get(metric) or better.get(ident)
    if given is not None and given not in ("higher", "lower", "zero"):
        raise SettingsError(
            f"The direction of '{metric}' is not known.",
            got=given,
            expected="higher, lower or zero",
            remedy=f"write --better {metric}=higher, =lower, or =zero if 0 is best",
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
    if given is not None and known.better not in ("none", given):
        raise SettingsError(
            f"'{metric}' has a direction of its own.", got=f"--better {metric}={given}",
            expected=known.better, remedy="leave the option out",
        )  # fmt: skip
    return given or known.better, float(known.low), float(known.high), float(known.best)
