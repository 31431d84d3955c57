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
    cohort: Annotated[
        Path | None,
        typer.Argument(help="The references: a table, or a folder of nnU-Net, of the Decathlon or of BIDS."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The references, if not given as an argument.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; 'evaluation' in that of the predictions.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only the cases of this split; those that were predicted if left out.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest displacement between grids, in mm.")] = 1e-3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Score every case and label: Dice, volume difference, absolute volume difference.

    Writes metrics.csv, summary.json, run.json and, if a case failed, failures.csv; prints the summary.
    """
    from truevox.cli.data import described_by, one_cohort
    from truevox.cli.predict import write_failures
    from truevox.cli.record import recorded
    from truevox.evaluation import METRIC_COLUMNS, summary
    from truevox.evaluation import evaluate as score
    from truevox.evaluation.cases import FAILURE_COLUMNS
    from truevox.files import software, write_csv, write_json
    from truevox.measures import read_outputs
    from truevox.progress import spinner

    source = one_cohort(cohort, data)
    outputs = read_outputs(predictions)
    cases = chosen(predictions, source, split, [str(o.reference) for o in outputs.values()])
    folder = predictions / "evaluation" if out is None else out
    settings = {"predictions": str(predictions), "split": split, "tolerance_mm": tolerance}
    inputs = described_by(source) | {"labels": predictions / "labels.json"}
    with (
        recorded(folder / "run.json", "evaluate", settings, inputs) as record,
        spinner(f"Scoring {len(cases)} cases"),
    ):
        found = score(predictions, cases, outputs, tol_mm=tolerance, n_jobs=jobs)
        totals = summary(found.rows)
        write_csv(folder / "metrics.csv", found.rows, METRIC_COLUMNS)
        write_json(
            folder / "summary.json",
            {"software": software(), "cases": len(cases), "metrics": [one.as_row() for one in totals]},
        )
        write_failures(folder / "failures.csv", [f.as_row() for f in found.failures], FAILURE_COLUMNS)
        record.update(cases=[c.key for c in cases], failed=[f.case for f in found.failures])
    typer.echo(text(totals))
    if found.failures:
        say(f"{len(found.failures)} of {len(cases)} cases failed, see {folder / 'failures.csv'}")
        raise typer.Exit(SOME_FAILED)


def chosen(predictions: Path, source: Path, split: str | None, references: Sequence[str]) -> Cohort:
    """The cases to score: those of the split, else those that ``truevox predict`` was asked for, else all.

    Of a folder, cases without a reference are left out: that is what its test cases are.
    """
    from truevox.cli.data import load_cohort, only
    from truevox.errors import FileError
    from truevox.files import read_json

    cohort = load_cohort(source)
    try:
        ran = read_json(predictions / "run.json")
        asked, splits = list(ran["cases"]), dict(ran.get("splits") or {})
    except (FileError, KeyError, TypeError, ValueError):
        asked, splits = [], {}
    if "train" not in cohort.splits:
        cohort = cohort.assigned({str(case): str(name) for case, name in splits.items()})
    if split is not None:
        cohort = only(cohort, split, source)
    else:
        known = {case.key for case in cohort}
        wanted = [key for key in asked if key in known]
        if wanted and len(wanted) < len(cohort):
            say(f"{len(wanted)} of the {len(cohort)} cases: those that were predicted. See --split.")
            cohort = cohort.select(wanted)
    if source.is_dir():
        scored = [case.key for case in cohort if any(case.has(name) for name in references)]
        if scored and len(scored) < len(cohort):
            say(f"{len(cohort) - len(scored)} of {len(cohort)} cases have no reference, and are left out.")
            cohort = cohort.select(scored)
    if trained := sum(splits.get(case.id) == "train" for case in cohort):
        say(f"Note: {trained} of these {len(cohort)} cases trained the model; see --split val.")
    return cohort


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
