"""``truevox evaluate``: predictions against the references of a cohort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from truevox.cli.running import SOME_FAILED, say

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.evaluation import Summary

__all__ = ["evaluate"]


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions.")],
    data: Annotated[Path, typer.Option(help="Table of the cases (CSV) with the references.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    split: Annotated[
        str | None, typer.Option(help="Only the cases of this split; those that were predicted if left out.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest displacement between grids, in mm.")] = 1e-3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Score every case and label: Dice, volume difference, absolute volume difference.

    Writes metrics.csv, summary.json, run.json and, if a case failed, failures.csv; prints the summary.
    """
    from truevox.cli.predict import write_failures
    from truevox.cli.record import recorded
    from truevox.evaluation import METRIC_COLUMNS, summary
    from truevox.evaluation import evaluate as score
    from truevox.evaluation.cases import FAILURE_COLUMNS
    from truevox.files import software, write_csv, write_json
    from truevox.measures import read_outputs
    from truevox.progress import spinner

    outputs = read_outputs(predictions)
    cohort = chosen(predictions, data, split)
    settings = {"predictions": str(predictions), "split": split, "tolerance_mm": tolerance}
    inputs = {"cohort": data, "labels": predictions / "labels.json"}
    with (
        recorded(out / "run.json", "evaluate", settings, inputs) as record,
        spinner(f"Scoring {len(cohort)} cases"),
    ):
        found = score(predictions, cohort, outputs, tol_mm=tolerance, n_jobs=jobs)
        totals = summary(found.rows)
        write_csv(out / "metrics.csv", found.rows, METRIC_COLUMNS)
        write_json(
            out / "summary.json",
            {"software": software(), "cases": len(cohort), "metrics": [one.as_row() for one in totals]},
        )
        write_failures(out / "failures.csv", [f.as_row() for f in found.failures], FAILURE_COLUMNS)
        record.update(cases=[c.key for c in cohort], failed=[f.case for f in found.failures])
    typer.echo(text(totals))
    if found.failures:
        say(f"{len(found.failures)} of {len(cohort)} cases failed, see {out / 'failures.csv'}")
        raise typer.Exit(SOME_FAILED)


def chosen(predictions: Path, data: Path, split: str | None) -> Cohort:
    """The cases to score: those of the split, else those that ``truevox predict`` was asked for, else all."""
    from truevox.cli.data import load_cohort
    from truevox.errors import FileError
    from truevox.files import read_json

    cohort = load_cohort(data, split)
    if split is not None:
        return cohort
    try:
        asked = read_json(predictions / "run.json")["cases"]
    except (FileError, KeyError, TypeError):
        return cohort
    known = {case.key for case in cohort}
    wanted = [key for key in asked if key in known]
    if not wanted or len(wanted) == len(cohort):
        return cohort
    say(f"{len(wanted)} of the table's {len(cohort)} cases: those that were predicted. See --split.")
    return cohort.select(wanted)


def text(totals: Sequence[Summary]) -> str:
    """The summary as a plain table."""
    rows = [("label", "metric", "unit", "mean", "95 % interval", "median", "n", "left out or empty")]
    for s in totals:
        interval = f"{number(s.ci_low)} to {number(s.ci_high)}" if not math.isnan(s.ci_low) else ""
        counts = {
            "undefined": s.n_undefined, "missed": s.n_missed, "spurious": s.n_spurious, "failed": s.n_failed,
        }  # fmt: skip
        rest = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        rows.append((s.label, s.metric, s.unit, number(s.mean), interval, number(s.median), str(s.n), rest))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def number(value: float) -> str:
    """Four significant digits."""
    return "nan" if math.isnan(value) else f"{value:.4g}"
