"""One folder of ``truevox evaluate``: its tables, read and checked."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from truevox.errors import FileError
from truevox.files import read_json, unreadable

__all__ = ["CaseFiles", "Folder", "Score", "read_folder", "read_folders", "read_table"]

_METRICS = ("case", "label", "metric", "value", "unit", "status", "definition", "output")
_STATUS = ("ok", "undefined", "missed", "spurious", "failed")
_LESIONS = ("case", "output", "label", "kind", "reference_ml", "prediction_ml")
_FAILURES = ("case", "output", "file", "message", "remedy")
_CASES = ("case", "prediction", "reference")


@dataclass(frozen=True)
class Score:
    """A row of ``metrics.csv``.

    Examples
    --------
    >>> Score("p07", "tumour", "tumour", "dice", 0.8, "1", "ok", "dice/voxel").metric
    'dice'
    """

    case: str
    output: str
    label: str
    metric: str
    value: float
    unit: str
    status: str
    definition: str
    when_empty: float = math.nan


@dataclass(frozen=True)
class CaseFiles:
    """Where the masks of a case are, and what was noted about them.

    Without a prediction, an empty one was scored.
    """

    prediction: Path | None
    reference: Path
    image: Path | None = None
    output: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """What one evaluation of one method says.

    Parameters
    ----------
    method : str
        Its name in the report.
    path : Path
    scores : list of Score
    summary : list of dict
        Rows of ``summary.json``.
    lesions, failures : list of dict
        Rows of the tables, as text; empty if there is no such file.
    cases : dict of case to list of CaseFiles
        Empty if there is no ``cases.csv``.
    run : dict
        ``run.json``; empty if there is none.
    patients : dict of case to patient
        As far as a table names them: see :meth:`patient`.
    one_output : bool
        Whether all methods of the report have one output, the same: its name tells nothing then.
    """

    method: str
    path: Path
    scores: list[Score]
    summary: list[dict[str, Any]]
    lesions: list[dict[str, str]]
    failures: list[dict[str, str]]
    cases: dict[str, list[CaseFiles]]
    run: dict[str, Any]
    patients: dict[str, str] = field(default_factory=dict)
    one_output: bool = False

    def structure(self, output: str, label: str) -> str:
        """What was segmented, in words: the label, after its output where there are several."""
        name = f"label {label}" if label.isdecimal() else label
        return name if self.one_output or output in ("", label) else f"{output}: {name}"

    def patient(self, case: str) -> str:
        """Whose case it is; what stands before its first ``/`` where no table says."""
        return self.patients.get(case) or case.partition("/")[0]

    def files(self, case: str, output: str) -> CaseFiles | None:
        """The files of a case; of one output, where the table tells outputs apart."""
        found = self.cases.get(case, [])
        return next((one for one in found if one.output in ("", output)), None)


def read_folders(evaluations: Mapping[str, str | Path]) -> list[Folder]:
    """The folders of all methods.

    Raises
    ------
    FileError
        If a folder, its ``metrics.csv`` or ``summary.json`` is missing, or a table lacks columns.
    """
    folders = [read_folder(str(method), path) for method, path in evaluations.items()]
    one = len({score.output for folder in folders for score in folder.scores}) == 1
    return [replace(folder, one_output=one) for folder in folders]


def read_folder(method: str, path: str | Path) -> Folder:
    """Read the tables of an evaluation.

    Raises
    ------
    FileError
        If the folder, ``metrics.csv`` or ``summary.json`` is missing, or a table lacks columns.
    """
    folder = Path(path)
    metrics = folder / "metrics.csv"
    if not (folder / "metrics.csv").is_file():
        raise FileError(
            "The folder holds no evaluation: metrics.csv is missing.",
            file=folder / "metrics.csv",
            remedy="name the folder that `truevox evaluate ... --out` wrote",
        )
    rows = read_table(metrics, _METRICS)
    named = [*_optional(folder / "cases.csv", _CASES), *rows]
    return Folder(
        method=method,
        path=folder,
        scores=[_score(row, metrics) for row in rows],
        summary=_summary(folder / "summary.json"),
        lesions=_optional(folder / "lesions.csv", _LESIONS),
        failures=_optional(folder / "failures.csv", _FAILURES),
        cases=_cases(folder / "cases.csv"),
        run=_mapping(folder / "run.json"),
        patients={row["case"]: row["patient"].strip() for row in named if row.get("patient", "").strip()},
    )


def read_table(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    r"""Rows of a CSV file (UTF-8) as text; empty cells are ``""``.

    Raises
    ------
    FileError
        If it can't be read, lacks columns, or a row is cut off.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = file.write_text("case,value\np07,1\n")
    >>> read_table(file, ["case"])
    [{'case': 'p07', 'value': '1'}]
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            read = list(table)
            found = list(table.fieldnames or ())
    except OSError as error:
        raise unreadable(error, path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"The file is no CSV table: {error}.", file=path, remedy="evaluate again") from error
    for number, row in enumerate(read, start=2):
        if None in row or None in row.values():
            raise FileError(
                f"Row {number} has another number of cells than the header.", file=path,
                remedy="write the table again; it may have been cut off",
            )  # fmt: skip
    rows = [{key: value for key, value in row.items() if key} for row in read]
    missing = [name for name in columns if name not in found]
    if missing:
        raise FileError(
            f"The table lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            file=path,
            got=", ".join(found) or "an empty file",
            expected=", ".join(columns),
            remedy="evaluate again with this version",
        )
    return rows


def _optional(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    return read_table(path, columns) if path.is_file() else []


def _score(row: Mapping[str, str], path: Path) -> Score:
    try:
        value = float(row["value"]) if row["value"] else math.nan
        when_empty = float(row.get("when_empty") or math.nan)
    except ValueError:
        raise FileError(
            "A value in the table is no number.",
            case=row["case"],
            file=path,
            got=row["value"],
            remedy="evaluate again",
        ) from None
    if row["status"] not in _STATUS:
        raise FileError(
            "A status in the table is not known.", case=row["case"], file=path,
            got=row["status"] or "nothing", expected=", ".join(_STATUS), remedy="evaluate again",
        )  # fmt: skip
    # An infinite distance says that a mask was empty, as in a comparison.
    status = "missed" if row["status"] == "ok" and math.isinf(value) else row["status"]
    return Score(
        row["case"],
        row["output"],
        row["label"],
        row["metric"],
        value,
        row["unit"],
        status,
        row["definition"],
        when_empty,
    )


def _summary(path: Path) -> list[dict[str, Any]]:
    rows = _mapping(path).get("metrics")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileError(
            "The folder has no summary with a list 'metrics'.",
            file=path,
            remedy="evaluate again: `truevox evaluate` writes it last",
        )
    return rows


def _mapping(path: Path) -> dict[str, Any]:
    data = read_json(path) if path.is_file() else {}
    if not isinstance(data, dict):
        raise FileError("The file holds no JSON object.", file=path, remedy="evaluate again")
    return data


def _cases(path: Path) -> dict[str, list[CaseFiles]]:
    found: dict[str, list[CaseFiles]] = {}
    for row in _optional(path, _CASES):
        reference = _beside(path, row["reference"])
        if reference is None:
            continue
        files = CaseFiles(
            _beside(path, row["prediction"]),
            reference,
            _beside(path, row.get("image", "")),
            row.get("output", ""),
            tuple(filter(None, row.get("notes", "").split("; "))),
        )
        found.setdefault(row["case"], []).append(files)
    return found


def _beside(table: Path, text: str) -> Path | None:
    """A path of a table; a relative one that is not found from here is looked up beside the table."""
    if not text:
        return None
    path = Path(text)
    return path if path.is_absolute() or path.exists() else table.parent / path
