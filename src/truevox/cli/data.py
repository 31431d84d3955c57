"""The cohort as a command sees it: the cases it is about, checked before they are used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from truevox.errors import CaseError, FileError, GeometryError, SettingsError, TrueVoxError

if TYPE_CHECKING:
    from truevox.cohort import Cohort, Problem
    from truevox.labels import Labels

__all__ = ["described_by", "expect_columns", "expect_sound", "load_cohort", "one_cohort", "only"]

_MANY_FILES = 2000
_BLOCKING: dict[str, type[TrueVoxError]] = {
    "file": FileError,
    "header": FileError,
    "geometry": GeometryError,
    "4D": CaseError,
    "grid": GeometryError,
}


def load_cohort(source: Path, split: str | None = None, fold: int | None = None) -> Cohort:
    """The cases of a table or folder, or those of one split.

    Raises
    ------
    FileError, CaseError, LabelError
        As :meth:`truevox.Cohort.open`.
    CaseError
        If the split holds none; names the source.
    """
    from truevox.cohort import Cohort

    cohort = Cohort.open(source, fold=fold)
    return cohort if split is None else only(cohort, split, source)


def only(cohort: Cohort, split: str, source: Path) -> Cohort:
    """The cases of one split.

    Raises
    ------
    CaseError
        If it holds none; names the source.
    """
    try:
        return cohort.split(split)
    except CaseError as error:
        error.file = str(source)
        raise


def one_cohort(argument: Path | None, option: Path | None) -> Path:
    """The cohort that a command was given, as an argument or as ``--data``.

    Raises
    ------
    SettingsError
        If it was given twice, or not at all.
    """
    given = [path for path in (argument, option) if path is not None]
    if len(given) == 1:
        return given[0]
    raise SettingsError(
        "The cohort is given twice." if given else "The cohort is missing.",
        got=" and ".join(map(str, given)) or None,
        expected="a table, or a folder of nnU-Net, of the Decathlon or of BIDS",
        remedy="give one of them, and leave the other out" if given else "name it: --data cohort.csv",
    )


def described_by(source: Path) -> dict[str, Path]:
    """The file that says what the cohort is, for the record: the table, or the description of the folder."""
    for file in (source, source / "dataset.json", source / "dataset_description.json"):
        if file.is_file():
            return {"cohort": file}
    return {}


def expect_columns(cohort: Cohort, columns: Iterable[str], table: Path) -> None:
    """Refuse a cohort that lacks columns.

    Raises
    ------
    SettingsError
        Naming those that it has.
    """
    if missing := [name for name in columns if name not in cohort.columns]:
        raise SettingsError(
            f"The cohort has no column {', '.join(repr(name) for name in missing)}.",
            file=table,
            expected=", ".join(cohort.columns),
            remedy="correct `images` and `label` of the recipe, or the first line of the table",
        )


def expect_sound(
    cohort: Cohort,
    columns: Sequence[str],
    *,
    align: bool,
    channels: Mapping[str, int] | None = None,
    labels: Mapping[str, Labels] | None = None,
) -> None:
    """Refuse cases whose files could not be used, judged by their headers.

    Parameters
    ----------
    columns : sequence of str
        What will be read.
    align : bool
        Whether files of a case may be on different grids.
    channels : mapping of column to int, optional
        Columns whose files have several, and how many.
    labels : mapping of column to Labels, optional
        The columns that hold labels.

    Raises
    ------
    FileError, GeometryError, CaseError
        The first problem, and how many others there are.
    """
    from truevox.cohort import Case, Cohort, check
    from truevox.progress import progress

    cases = [Case(c.id, {n: c.path(n) for n in columns}, c.record, c.split) for c in cohort]
    # Processes take seconds to start: few headers are read sooner without them.
    jobs = min(os.cpu_count() or 1, 8) if len(cases) * len(columns) > _MANY_FILES else 1
    with progress("Reading headers", None) as advance:
        found = check(Cohort(cases), labels=labels, channels=channels or {}, n_jobs=jobs, advance=advance)
    problems = [p for p in found if p.kind in _BLOCKING and not (align and p.kind == "grid")]
    if problems:
        raise _error(problems)


def _error(problems: Sequence[Problem]) -> TrueVoxError:
    first = problems[0]
    others = len(problems) - 1
    message = first.message
    if others:
        message += (
            f"\n{others} more problem{'s' * (others > 1)} in the cohort: `truevox check` lists them all."
        )
    remedy = first.remedy
    if first.kind == "grid":
        remedy = "resample one of the files, or write `align: true` in the recipe"
    return _BLOCKING[first.kind](message, case=first.case, file=first.file or None, remedy=remedy or None)
