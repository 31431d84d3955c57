"""``truevox volumes``: the table of volumes of a folder of predictions."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from truevox.cli.running import SOME_FAILED, say

__all__ = ["volumes"]

FAILURES = ("case", "output", "label", "method", "file", "message")


def volumes(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions.")],
    out: Annotated[Path | None, typer.Option(help="CSV file; standard output if left out.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Write volumes in ml: a row per case, label and method.

    Method "expected" sums probabilities, "threshold" counts the voxels of the decided labels.
    """
    from truevox.measures import VOLUME_COLUMNS, volumes_table

    rows = compute(predictions, out, jobs) if out is not None else volumes_table(predictions, n_jobs=jobs)
    failed = [row for row in rows if row["status"] == "failed"]
    if out is None:
        table = csv.DictWriter(sys.stdout, VOLUME_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    say(f"{len({row['case'] for row in rows})} cases, {len(rows)} volumes, {len(failed)} failed.")
    if failed:
        for row in failed[:5]:
            say(f"  {row['case']}  {row['label']}  {row['message']}")
        raise typer.Exit(SOME_FAILED)


def compute(predictions: Path, out: Path, jobs: int) -> list[dict[str, Any]]:
    """Write the table; beside it, what was run and what failed."""
    from truevox.cli.predict import write_failures
    from truevox.cli.record import recorded
    from truevox.files import write_csv
    from truevox.measures import VOLUME_COLUMNS, volumes_table
    from truevox.progress import spinner

    # A folder of predictions has a run.json and a failures.csv of its own.
    prefix = f"{out.stem}." if out.resolve().parent == predictions.resolve() else ""
    settings = {"predictions": str(predictions), "out": str(out)}
    inputs = {"labels": predictions / "labels.json"}
    if not inputs["labels"].exists():
        volumes_table(predictions)  # says what is missing
    with recorded(out.parent / f"{prefix}run.json", "volumes", settings, inputs), spinner("Measuring"):
        rows = volumes_table(predictions, n_jobs=jobs)
        write_csv(out, rows, VOLUME_COLUMNS)
        failed = [{name: row[name] for name in FAILURES} for row in rows if row["status"] == "failed"]
        write_failures(out.parent / f"{prefix}failures.csv", failed, FAILURES)
    return rows
