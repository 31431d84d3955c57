"""The cohort as a command sees it: the cases it is about, checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from truevox.errors import CaseError, FileError, GeometryError, SettingsError, TrueVoxError

if TYPE_CHECKING:
    from truevox.cohort import Cohort, Problem

__all__ = ["expect_columns", "expect_sound", "load_cohort"]

_BLOCKING: dict[str, type[TrueVoxError]] = {
    "file": FileError,
    "header": FileError,
    "geometry": GeometryError,
    "4D": CaseError,
    "grid": GeometryError,
}


def load_cohort(table: Path, split: str | None = None) -> Cohort:
    """The cases of a table, or those of one split.

    Raises
    ------
    FileError, CaseError
        As :meth:`truevox.Cohort.from_csv` and :meth:`truevox.Cohort.split`; names the table.
    """
    from truevox.cohort import Cohort

    cohort = Cohort.from_csv(table)
    if split is None:
        return cohort
    try:
        return cohort.split(split)
    except CaseError as error:
        error.file = str(table)
        raise


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


def expect_sound(cohort: Cohort, columns: Sequence[str], *, align: bool) -> None:
    """Refuse cases whose files could not be used, judged by their headers.

    Parameters
    ----------
    columns : sequence of str
        What will be read.
    align : bool
        Whether files of a case may be on different grids.

    Raises
    ------
    FileError, GeometryError, CaseError
        The first problem, and how many others there are.
    """
    from truevox.cohort import Case, Cohort, check

    cases = [Case(c.id, {n: c.path(n) for n in columns}, c.record, c.split) for c in cohort]
    problems = [p for p in check(Cohort(cases)) if p.kind in _BLOCKING and not (align and p.kind == "grid")]
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
