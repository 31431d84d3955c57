"""What is wrong with a cohort, all of it, before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from truevox.cohort.case import Case
from truevox.cohort.checks.files import Facts, Key, inspect
from truevox.cohort.checks.headers import channel_problems, describe_mismatch, grid_problems, merged_notes
from truevox.cohort.checks.leaks import leaks
from truevox.cohort.checks.outliers import guessed_labels, outliers
from truevox.cohort.checks.problem import PROBLEM_COLUMNS, Finding, Problem
from truevox.cohort.checks.voxels import blank_finding
from truevox.cohort.table import Cohort
from truevox.labels import Labels
from truevox.progress import Advance

__all__ = ["PROBLEM_COLUMNS", "Problem", "check", "describe_mismatch"]


def check(
    cohort: Cohort,
    tol_mm: float = 1e-3,
    labels: Mapping[str, Labels] | Collection[str] | None = None,
    *,
    channels: Mapping[str, int] | None = None,
    voxels: bool = False,
    patient: str | None = None,
    n_jobs: int = 1,
    advance: Advance | None = None,
) -> list[Problem]:
    """Look at every file of a cohort, once, and list all that is wrong; never stop at the first.

    From headers alone: missing and unreadable files, affines that are singular, contradictory or
    absent, numbers of channels, grids that differ within a case, one file in two cases, spacing, shape and
    order of axes unlike the rest of the column. Only ``voxels=True`` finds a truncated or damaged file, NaN,
    label values not declared, images among labels and labels among images, empty, full and constant images,
    intensities unlike the rest, and equal images in two cases (in any format, type and storage order).

    Parameters
    ----------
    cohort : Cohort
    tol_mm : float
        Largest displacement of a corner between the grids of a case, in mm.
    labels : mapping of column to Labels, or collection of columns, optional
        Which columns are label images, and what values they may hold, beside what the cohort says itself. Of
        the others, a column whose files hold a few integers each is taken for labels of unknown values.
    channels : mapping of column to int, optional
        Images that have several channels; all others have one. If left out, an image has as many as most of
        its column.
    voxels : bool
        Whether to read the voxels too.
    patient : str, optional
        Column that names the patient, whose cases all belong into one split.
    n_jobs : int
        Processes (joblib); each holds one file at a time.
    advance : callable, optional
        Told how many files are done, the last one's name, and how many there are.

    Returns
    -------
    list of Problem
        By case, in the order of the cohort; then what concerns several cases.

    Examples
    --------
    >>> cohort = Cohort([Case("p07", {"flair": Path("missing.nii.gz")})])
    >>> [(p.case, p.column, p.severity, p.kind, p.message) for p in check(cohort)]
    [('p07', 'flair', 'error', 'file', 'The file does not exist.')]
    """
    tables: dict[str, Labels | None] = dict(cohort.labels)
    if isinstance(labels, Mapping):
        tables.update(labels)
    else:
        tables = dict.fromkeys(labels or ()) | tables
    facts = inspect(cohort, tables, voxels, n_jobs, advance)
    label_columns = tables.keys() | guessed_labels(cohort, facts)
    problems = [p for case in cohort for p in _case_problems(case, facts, label_columns, tol_mm)]
    files = _channels(cohort, facts)
    problems = list(merged_notes(problems, {column: len(found) for column, found in files.items()}))
    problems += [*channel_problems(files, channels, label_columns), *_without_label(cohort, tables)]
    remedy = "see that this is what you mean; leave cells empty that hold nothing"
    problems += [
        Problem("", n, "", "table", f"The column: {note}.", remedy) for n, note in cohort.notes.items()
    ]
    problems += leaks(cohort, facts, label_columns, patient)
    problems += outliers(cohort, facts, tables, label_columns)
    return problems


def _case_problems(
    case: Case,
    facts: Mapping[Key, Facts],
    label_columns: Collection[str],
    tol_mm: float,
) -> Iterable[Problem]:
    for column, path in case.files.items():
        one = facts[column, path]
        blank = blank_finding(one.voxels, column in label_columns)
        for finding in (*one.findings, *([blank] if blank else [])):
            yield _of_file(case, column, path, finding)
    known = {column: (facts[column, path], path) for column, path in case.files.items()}
    headers = {column: one.header(path) for column, (one, path) in known.items() if one.grid is not None}
    yield from grid_problems(case, headers, tol_mm, label_columns)


def _channels(cohort: Cohort, facts: Mapping[Key, Facts]) -> dict[str, dict[Path, tuple[str, int]]]:
    """By column, the files that could be opened: the case that each is of, and its channels."""
    files: dict[str, dict[Path, tuple[str, int]]] = {}
    for case in cohort:
        for column, path in case.files.items():
            if facts[column, path].grid is not None:
                files.setdefault(column, {}).setdefault(path, (case.key, facts[column, path].channels))
    return files


def _without_label(cohort: Cohort, declared: Collection[str]) -> Iterable[Problem]:
    """Columns and cases without a label; a test split may have none at all."""
    for column in declared:
        if column not in cohort.columns:
            message, remedy = "The cohort has no such column.", f"one of {', '.join(cohort.columns)}"
            yield Problem("", column, "", "label", message, remedy)
            continue
        filled = {case.split for case in cohort if isinstance(case.values.get(column), Path)}
        for case in cohort:
            if isinstance(case.values.get(column, Path()), Path):
                continue
            if case.split == "test" and "test" not in filled:
                continue
            yield Problem(case.key, column, "", "label", "The case has no label image.", "fill the cell")


def _of_file(case: Case, column: str, path: Path, finding: Finding) -> Problem:
    where = ((case.key, column),)
    return Problem(case.key, column, str(path), finding.kind, finding.message, finding.remedy, where)
