"""What is wrong with a cohort, all of it, before anything runs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from truevox import io
from truevox.cohort.case import Case
from truevox.cohort.table import Cohort
from truevox.errors import CaseError, TrueVoxError
from truevox.io.access import as_labels, check_finite
from truevox.labels import Labels

__all__ = ["PROBLEM_COLUMNS", "Problem", "check"]

PROBLEM_COLUMNS = ("case", "column", "file", "kind", "message", "remedy")
"""Order of the columns where problems are written as a table."""


@dataclass(frozen=True)
class Problem:
    """One offender.

    Parameters
    ----------
    case : str
        Key of the case.
    column, file : str
        Where; several files are separated by ``"; "``.
    kind : str
        ``file``, ``header``, ``geometry``, ``orientation``, ``4D``, ``grid``, ``duplicate``, ``label``,
        ``empty``, ``full``, ``constant``, ``voxels``.
    message, remedy : str
        What is wrong, and what to do.

    Examples
    --------
    >>> Problem("p07", "mask", "p07.nii.gz", "empty", "No foreground.", "look at it").as_row()["kind"]
    'empty'
    """

    case: str
    column: str
    file: str
    kind: str
    message: str
    remedy: str

    def as_row(self) -> dict[str, str]:
        """A row for :func:`truevox.files.write_csv` with ``PROBLEM_COLUMNS``."""
        return asdict(self)


@dataclass(frozen=True)
class _Seen:
    """What remains of a case when its files are closed."""

    problems: list[Problem]
    digests: dict[str, str]


def check(
    cohort: Cohort,
    tol_mm: float = 1e-3,
    labels: Mapping[str, Labels] | Collection[str] | None = None,
    *,
    voxels: bool = False,
    n_jobs: int = 1,
) -> list[Problem]:
    """Look at every file of a cohort and list all that is wrong; never stop at the first.

    From headers alone: missing and unreadable files, affines that are singular, contradictory or
    absent, 4D files, grids that differ within a case, one file in two cases. Only ``voxels=True``
    finds a truncated or damaged file, NaN, label values not declared, empty, full and constant
    images, and equal images in two cases.

    Parameters
    ----------
    cohort : Cohort
    tol_mm : float
        Largest displacement of a corner between the grids of a case, in mm.
    labels : mapping of column to Labels, or collection of columns, optional
        Which columns are label images, and what values they may hold.
    voxels : bool
        Whether to read the voxels too.
    n_jobs : int
        Processes (joblib).

    Returns
    -------
    list of Problem
        By case, in the order of the cohort; then what concerns several cases.

    Examples
    --------
    >>> cohort = Cohort([Case("p07", {"flair": Path("missing.nii.gz")})])
    >>> [(p.case, p.column, p.kind, p.message) for p in check(cohort)]
    [('p07', 'flair', 'file', 'The file does not exist.')]
    """
    tables: dict[str, Labels | None] = {}
    if labels is not None:
        tables = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels)
    work = (delayed(_check_case)(case, tol_mm, tables, voxels) for case in cohort)
    seen: list[_Seen] = Parallel(n_jobs=n_jobs)(work)  # type: ignore[assignment]
    problems = [problem for one in seen for problem in one.problems]
    for column in tables:
        if column not in cohort.columns:
            problems.append(
                Problem(
                    "",
                    column,
                    "",
                    "label",
                    "The cohort has no such column.",
                    f"one of {', '.join(cohort.columns)}",
                )
            )
    problems += _same_file(cohort)
    return problems + _same_voxels(cohort, seen)


def _check_case(case: Case, tol_mm: float, tables: Mapping[str, Labels | None], voxels: bool) -> _Seen:
    problems: list[Problem] = []
    headers: dict[str, io.Header] = {}
    digests: dict[str, str] = {}
    for column, path in case.files.items():
        try:
            array, header = io.read(path) if voxels else (None, io.read_header(path))
            headers[column] = header
            problems += _header_problems(case, column, header)
            if array is not None:
                found = list(
                    _voxel_problems(case, column, array, header, column in tables, tables.get(column))
                )
                problems += found
                if not found:
                    digests[column] = _digest(array)
        except TrueVoxError as error:
            problems.append(_problem(case, column, path, error))
    for column in tables:
        if column in case.values and not isinstance(case.values[column], Path):
            problems.append(
                Problem(case.key, column, "", "label", "The case has no label image.", "fill the cell")
            )
    return _Seen(problems + _grid_problems(case, headers, tol_mm), digests)


def _problem(case: Case, column: str, path: Path, error: TrueVoxError) -> Problem:
    kind = {"FileError": "file", "GeometryError": "geometry", "LabelError": "label"}.get(
        type(error).__name__, "voxels"
    )
    details = [
        f"{name} {value}"
        for name, value in (("got", error.got), ("expected", error.expected))
        if value is not None
    ]
    message = error.message + (f" ({'; '.join(details)})" if details else "")
    return Problem(case.key, column, str(path), kind, message, error.remedy or "")


def _header_problems(case: Case, column: str, header: io.Header) -> Iterable[Problem]:
    for note in header.notes:
        remedy = "convert it again from its source with orientation"
        yield Problem(case.key, column, str(header.path), "orientation", f"The file has {note}.", remedy)
    try:
        io.expect_3d(header, case.key, column)
    except CaseError as error:
        yield Problem(case.key, column, str(header.path), "4D", error.message, error.remedy or "")


def _grid_problems(case: Case, headers: Mapping[str, io.Header], tol_mm: float) -> list[Problem]:
    """Every column against the first."""
    problems = []
    names = list(headers)
    for name in names[1:]:
        first, other = headers[names[0]], headers[name]
        if first.grid.same_as(other.grid, tol_mm):
            continue
        message = describe_mismatch(case.key, {names[0]: first, name: other}, tol_mm)
        remedy = f"tv.Like({names[0]})({name}) in the pipeline, or resample one of the files"
        problems.append(Problem(case.key, name, f"{first.path}; {other.path}", "grid", message, remedy))
    return problems


def describe_mismatch(case: str, headers: Mapping[str, io.Header], tol_mm: float) -> str:
    """The text of two grids that should be one: both, and the largest displacement of a corner."""
    (one, first), (two, second) = headers.items()
    width = max(len(one), len(two))
    displacement = first.grid.displacement(second.grid)
    how_far = f"{displacement:.3g} mm" if np.isfinite(displacement) else "not defined: the shapes differ"
    return (
        f"'{two}' and '{one}' of case {case} are not on the same grid.\n"
        f"  {one:<{width}}  {first.grid.describe()}  {first.path}\n"
        f"  {two:<{width}}  {second.grid.describe()}  {second.path}\n"
        f"  largest corner displacement {how_far} (tolerance {tol_mm:g} mm)"
    )


def _voxel_problems(
    case: Case, column: str, array: NDArray, header: io.Header, is_label: bool, table: Labels | None
) -> Iterable[Problem]:
    def problem(kind: str, message: str, remedy: str) -> Problem:
        return Problem(case.key, column, str(header.path), kind, message, remedy)

    try:
        array = as_labels(array, header.path, table) if is_label else array
        check_finite(array, header.path)
    except TrueVoxError as error:
        yield _problem(case, column, header.path, error)
        return
    low, high = array.min(), array.max()
    if is_label and high == low == 0:
        yield problem(
            "empty", "The mask has no foreground.", "right for a healthy case; else mark it, or leave it out"
        )
    elif is_label and (low > 0 or high < 0):
        yield problem(
            "full", "The mask has no background: every voxel is foreground.", "check how it was made"
        )
    elif not is_label and low == high:
        yield problem("constant", f"Every voxel of the image is {low:g}.", "check how the file was made")


def _digest(array: NDArray) -> str:
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    # Files store the first axis fastest: the reversed axes are contiguous, without a copy.
    digest.update(np.ascontiguousarray(array.transpose()).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _same_file(cohort: Cohort) -> list[Problem]:
    """Files that two cases share. Records of one case may."""
    users: dict[Path, dict[str, tuple[Case, str]]] = defaultdict(dict)
    for case in cohort:
        for column, path in case.files.items():
            users[path.resolve()].setdefault(case.id, (case, column))
    return [
        _duplicate(list(cases.values()), "The same file is used in", str(path))
        for path, cases in users.items()
        if len(cases) > 1
    ]


def _same_voxels(cohort: Cohort, seen: list[_Seen]) -> list[Problem]:
    """Different files of different cases with equal voxels."""
    users: dict[str, dict[str, tuple[Case, str]]] = defaultdict(dict)
    for case, one in zip(cohort, seen, strict=True):
        for column, digest in one.digests.items():
            users[digest].setdefault(case.id, (case, column))
    problems = []
    for cases in users.values():
        paths = {str(case.files[column].resolve()): None for case, column in cases.values()}
        if len(paths) > 1:
            problems.append(_duplicate(list(cases.values()), "The same voxels are in", "; ".join(paths)))
    return problems


def _duplicate(users: list[tuple[Case, str]], what: str, files: str) -> Problem:
    named = ", ".join(f"{case.key} ({case.split})" if case.split else case.key for case, _ in users)
    across = len({case.split for case, _ in users}) > 1
    message = f"{what} {len(users)} cases: {named}." + (" They are in different splits." if across else "")
    columns = "; ".join(dict.fromkeys(column for _, column in users))
    cases = "; ".join(case.key for case, _ in users)
    return Problem(cases, columns, files, "duplicate", message, "keep one, or give both rows the same case")
