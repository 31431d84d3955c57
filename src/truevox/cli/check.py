"""``truevox check``: all that is wrong with a cohort, in one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import SOME_FAILED, say

if TYPE_CHECKING:
    from truevox.cohort import Cohort, Problem
    from truevox.labels import Labels

__all__ = ["check"]


def check(
    cohort: Annotated[Path, typer.Argument(help="Table of the cases (CSV).")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe: check its columns only, and its label's values.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Column of label images; can be given several times.")
    ] = None,
    voxels: Annotated[
        bool, typer.Option("--voxels", help="Read all voxels, not only those of labels.")
    ] = False,
    tolerance: Annotated[float, typer.Option(help="Largest displacement between grids, in mm.")] = 1e-3,
    out: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Check headers, grids, labels and duplicates of a cohort.

    Prints one table of all offenders: CSV, or a drawn table on a terminal. Voxels are read for label columns
    (of --recipe or --label), and for all columns with --voxels; everything else needs headers only.
    """
    from truevox.cli.data import expect_columns, load_cohort
    from truevox.progress import spinner

    cases = load_cohort(cohort)
    tables: dict[str, Labels | None] = dict.fromkeys(label or [])
    columns = list(cases.columns)
    align = False
    if recipe is not None:
        from truevox.recipe import Recipe

        settings = Recipe.from_yaml(recipe)
        expect_columns(cases, settings.needs, cohort)
        columns, align = settings.needs, settings.align
        tables[settings.label] = settings.table
    expect_columns(cases, tables, cohort)
    with spinner(f"Checking {len(cases)} cases"):
        problems = find(cases, columns, tables, tolerance, voxels, jobs)
    problems = [p for p in problems if not (align and p.kind == "grid")]
    show(problems, out)
    files = sum(len([c for c in case.files if c in columns]) for case in cases)
    say(f"{len(cases)} cases, {files} files, {len(problems)} problem{'s' * (len(problems) != 1)}.")
    if problems:
        raise typer.Exit(SOME_FAILED)


def find(
    cases: Cohort,
    columns: Sequence[str],
    tables: dict[str, Labels | None],
    tolerance: float,
    voxels: bool,
    jobs: int,
) -> list[Problem]:
    """Problems of the columns; label columns by their voxels, the others too if ``voxels``."""
    from truevox.cohort import Case, Cohort
    from truevox.cohort import check as check_cohort

    def only(names: Sequence[str]) -> Cohort:
        return Cohort(
            Case(c.id, {n: c.values[n] for n in names if n in c.values}, c.record, c.split) for c in cases
        )

    found = check_cohort(only(columns), tolerance, tables, voxels=voxels, n_jobs=jobs)
    if tables and not voxels:
        found += check_cohort(only(list(tables)), tolerance, tables, voxels=True, n_jobs=jobs)
    return list(dict.fromkeys(found))


def show(problems: Sequence[Problem], out: Path | None) -> None:
    """The table: to a file, else to standard output."""
    from truevox.cohort.check import PROBLEM_COLUMNS

    rows: list[dict[Any, Any]] = [dict(p.as_row()) for p in problems]
    if out is not None:
        from truevox.files import write_csv

        write_csv(out, rows, PROBLEM_COLUMNS)
    elif sys.stdout.isatty():
        _draw(problems)
    else:
        import csv

        table = csv.DictWriter(sys.stdout, PROBLEM_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _draw(problems: Sequence[Problem]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not problems:
        return
    table = Table("case", "column", "kind", "what", "remedy", show_lines=True)
    for p in problems:
        what = p.message if p.kind == "grid" else f"{p.message}\n{p.file}".rstrip()
        table.add_row(*(escape(text) for text in (p.case, p.column, p.kind, what, p.remedy)))
    Console().print(table)
