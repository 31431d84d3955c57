"""``truevox check``: all that is wrong with a cohort, in one table; pictures of it, and repairs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import SOME_FAILED, say
from truevox.errors import SettingsError

if TYPE_CHECKING:
    from truevox.cohort import Cohort, Problem
    from truevox.labels import Labels

__all__ = ["check"]


class Fix(StrEnum):
    """How files on another grid are repaired."""

    RESAMPLE = "resample"
    COPY_HEADER = "copy-header"


def check(
    cohort: Annotated[Path, typer.Argument(help="Table of the cases, or a folder of them.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe: check its columns only, and its label's values.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Column of label images; can be given several times.")
    ] = None,
    voxels: Annotated[
        bool, typer.Option("--voxels/--headers", help="Read the voxels too, or headers only (much faster).")
    ] = True,
    tolerance: Annotated[float, typer.Option(help="Largest displacement between grids, in mm.")] = 1e-3,
    patient: Annotated[
        str | None, typer.Option(help="Column that names the patient, if cases are less than patients.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw every offender, as a PNG in this folder.")
    ] = None,
    fix: Annotated[
        Fix | None, typer.Option(help="Repair files on another grid, into the new folder --out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table to this CSV file; with --fix, the new folder.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 for warnings too.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Check files, grids, labels, splits and outliers of a cohort.

    Prints one table of all offenders: CSV, or a drawn table on a terminal. An error stops a training or makes
    its scores worthless, and ends with 1; a warning is something to look at.
    """
    from truevox.cli.data import expect_columns, load_cohort

    cases = load_cohort(cohort)
    tables: dict[str, Labels | None] = dict.fromkeys(label or ()) | dict(cases.labels)
    columns = list(cases.columns)
    align, channels = False, None
    if recipe is not None:
        from truevox.recipe import Recipe

        settings = Recipe.from_yaml(recipe)
        expect_columns(cases, settings.needs, cohort)
        columns, align, channels = settings.needs, settings.align, settings.channels
        tables = {n: t for n, t in tables.items() if n in columns} | {settings.label: settings.table}
    expect_columns(cases, [*tables, *([patient] if patient else [])], cohort)
    if fix is not None:
        _expect_new_folder(out, cohort)
    problems = find(cases, columns, tables, channels, tolerance, voxels, patient, jobs)
    problems = [p for p in problems if not (align and p.kind == "grid")]
    drawn = draw(problems, cases, tables, pictures, jobs) if pictures is not None else None
    show(problems, drawn, out if fix is None else None)
    files = sum(len([c for c in case.files if c in columns]) for case in cases)
    errors = [p for p in problems if p.severity == "error"]
    warnings = _count(len(problems) - len(errors), "warning")
    say(f"{len(cases)} cases, {files} files, {_count(len(errors), 'error')}, {warnings}.")
    if fix is not None and out is not None:
        repaired = repair(cases, problems, fix, out, tables, jobs)
        errors = [p for p in errors if p.kind != "grid" or p.where[-1] not in repaired]
    if errors or (strict and problems):
        raise typer.Exit(SOME_FAILED)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _expect_new_folder(out: Path | None, table: Path) -> None:
    if out is None or out.suffix == ".csv" or out.is_file() or out.resolve() == table.parent.resolve():
        raise SettingsError(
            "--fix writes into a new folder, never in place.",
            got=out,
            expected="--out NEWFOLDER",
            remedy="name a folder that is not there yet and not the cohort's own, e.g. --out repaired",
        )


def find(
    cases: Cohort,
    columns: Sequence[str],
    tables: Mapping[str, Labels | None],
    channels: Mapping[str, int] | None,
    tolerance: float,
    voxels: bool,
    patient: str | None,
    jobs: int,
) -> list[Problem]:
    """Problems of the columns, with a bar while they are looked for."""
    from truevox.cohort import Case, Cohort
    from truevox.cohort import check as check_cohort
    from truevox.progress import progress

    names = [*columns, *([patient] if patient and patient not in columns else [])]
    chosen = Cohort(
        (Case(c.id, {n: c.values[n] for n in names if n in c.values}, c.record, c.split) for c in cases),
        notes=cases.notes,
    )
    with progress(f"Checking {len(cases)} cases", None) as advance:
        return check_cohort(
            chosen,
            tolerance,
            tables,
            channels=channels,
            voxels=voxels,
            patient=patient,
            n_jobs=jobs,
            advance=advance,
        )


def draw(
    problems: Sequence[Problem],
    cases: Cohort,
    tables: Mapping[str, Labels | None],
    folder: Path,
    jobs: int,
) -> dict[int, Path]:
    """A picture of every offender whose file can be read, by its place in the list."""
    from truevox.cohort.checks.pictures import draw_problems
    from truevox.progress import progress

    with progress("Drawing", None) as advance:
        return draw_problems(problems, cases, folder, tables, n_jobs=jobs, advance=advance)


def repair(
    cases: Cohort,
    problems: Sequence[Problem],
    fix: Fix,
    folder: Path,
    tables: Mapping[str, Labels | None],
    jobs: int,
) -> set[tuple[str, str]]:
    """Repair files on another grid; the case and column of those that are repaired."""
    from truevox.cohort.checks.repair import repair as repair_cohort
    from truevox.progress import progress

    with progress("Repairing", None) as advance:
        rows = repair_cohort(cases, problems, fix.value, folder, tables, n_jobs=jobs, advance=advance)
    done = {(row.case, row.column) for row in rows if row.status == "repaired"}
    say(f"{len(done)} repaired, {len(rows) - len(done)} refused: {folder / 'fixes.csv'}.")
    return done


def show(problems: Sequence[Problem], drawn: Mapping[int, Path] | None, out: Path | None) -> None:
    """The table: to a file, else to standard output; a column for pictures if they were drawn."""
    from truevox.cohort.check import PROBLEM_COLUMNS

    rows: list[dict[Any, Any]] = [dict(p.as_row()) for p in problems]
    columns: list[str] = list(PROBLEM_COLUMNS)
    if drawn is not None:
        columns.append("picture")
        for k, row in enumerate(rows):
            row["picture"] = drawn.get(k)
    if out is not None:
        from truevox.files import write_csv

        write_csv(out, rows, columns)
    elif sys.stdout.isatty():
        _draw(problems)
    else:
        import csv

        table = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _draw(problems: Sequence[Problem]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not problems:
        return
    table = Table("case", "column", "severity", "kind", "what", "remedy", show_lines=True)
    for p in problems:
        what = p.message if p.kind == "grid" else f"{p.message}\n{p.file}".rstrip()
        table.add_row(*(escape(text) for text in (p.case, p.column, p.severity, p.kind, what, p.remedy)))
    Console().print(table)
