"""An evaluation as a folder of files, and what its reader should know first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from truevox.evaluation.jobs import (
    CASE_COLUMNS,
    FAILURE_COLUMNS,
    LESION_COLUMNS,
    METRIC_COLUMNS,
    Evaluation,
)
from truevox.evaluation.summary import Summary, summary
from truevox.files import software, write_csv, write_json
from truevox.metrics import definition

__all__ = ["remarks", "write_evaluation"]

_SHOWN = 5


def write_evaluation(folder: Path, found: Evaluation, lesions: bool = False) -> list[Summary]:
    """Write metrics.csv, cases.csv, summary.json and, where they say something, lesions.csv and failures.csv.

    Parameters
    ----------
    folder : path
    found : Evaluation
    lesions : bool
        Whether lesions were looked for: the table is then written even if it is empty.

    Returns
    -------
    list of Summary
        What ``summary.json`` holds.

    Raises
    ------
    FileError
        If a file can't be written.
    """
    totals = summary(found.rows)
    write_csv(folder / "metrics.csv", found.rows, METRIC_COLUMNS)
    write_csv(folder / "cases.csv", found.cases, CASE_COLUMNS)
    _write_or_remove(folder / "lesions.csv", found.lesions, LESION_COLUMNS, lesions)
    failures = [one.as_row() for one in found.failures]
    _write_or_remove(folder / "failures.csv", failures, FAILURE_COLUMNS, bool(failures))
    write_json(
        folder / "summary.json",
        {
            "software": software(),
            "cases": len({row["case"] for row in found.cases}),
            "failures": len(failures),
            "labels": found.labels,
            "metrics": [one.as_row() for one in totals],
        },
    )
    return totals


def _write_or_remove(path: Path, rows: Sequence[dict], columns: Sequence[str], wanted: bool) -> None:
    """An older table that is no longer true goes away."""
    if wanted:
        write_csv(path, rows, columns)
    else:
        path.unlink(missing_ok=True)


def remarks(found: Evaluation) -> list[str]:
    """What is odd about many cases at once, a sentence each.

    Examples
    --------
    >>> row = {"case": "p1", "definition": "dice/voxel", "label": "255", "status": "spurious"}
    >>> remarks(Evaluation([row, row | {"label": "1", "status": "missed"}], []))[0]
    'Label 255 is in predictions only, label 1 in references only. If they mean the same: --labels nonzero.'
    """
    said = []
    seen: dict[str, set[str]] = {}
    for row in found.rows:
        # Differences of volumes are 'ok' where a mask is empty, and say nothing of it.
        if definition(row["definition"]).empties:
            seen.setdefault(row["label"], set()).add(row["status"])
    kinds = {label: some & {"ok", "missed", "spurious"} for label, some in seen.items()}
    mine = [label for label, some in kinds.items() if some == {"spurious"}]
    theirs = [label for label, some in kinds.items() if some == {"missed"}]
    if mine:
        text = f"Label {', '.join(mine[:_SHOWN])} is in predictions only"
        if theirs:
            text += f", label {', '.join(theirs[:_SHOWN])} in references only"
        said.append(f"{text}. If they mean the same: --labels nonzero.")
    notes: dict[str, dict[str, str]] = {}
    for row in found.cases:
        for note in filter(None, row["notes"].split("; ")):
            kind, _, details = note.partition(": ")
            notes.setdefault(kind, {})[row["case"]] = details
    for kind, cases in notes.items():
        first, *others = cases.items()
        more = f"; and {len(others)} more, see cases.csv" if others else ""
        said.append(f"{kind[:1].upper()}{kind[1:]}: {first[1]} (case {first[0]}){more}.")
    return said
