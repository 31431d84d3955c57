"""``truevox evaluate``: predictions of any tool against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truevox.cli.running import SOME_FAILED, expect_file_to_write, write_page
from truevox.cli.scoring import Filters, score, settings_of, work_of
from truevox.errors import SettingsError

__all__ = ["evaluate"]


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of predictions; or a table: case,prediction,reference.")
    ],
    reference: Annotated[
        Path | None,
        typer.Argument(help="Folder of references; or a cohort: a table, nnU-Net, the Decathlon, BIDS."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The cohort, if not given as an argument.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; 'evaluation' in that of the predictions.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="E.g. dice,hd95,nsd@2mm,lesion_f1; nsd@1mm:tumour is of one label.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="E.g. tumour=1,whole=1+2; nonzero; or a file of labels.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="Settings (YAML); options come on top.")] = None,
    lesions: Annotated[
        str | None, typer.Option(help="Write lesions.csv, matched by this rule: iou@0.5/optimal, any, ...")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="A missing prediction is 'failed', or scored as 'worst'.")
    ] = None,
    resample: Annotated[
        bool | None,
        typer.Option("--resample", help="Read predictions on the reference's grid if they differ."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Largest displacement between grids, in mm; half a voxel if left out."),
    ] = None,
    by_value: Annotated[
        bool | None,
        typer.Option("--by-value", help="Find labels by value alone: names in files do not count."),
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Regular expression whose first group is the case, in both folders.")
    ] = None,
    prediction_files: Annotated[str, typer.Option(help="Only such files, e.g. '*_seg.nii.gz'.")] = "*",
    reference_files: Annotated[str, typer.Option(help="Only such files, e.g. '*/mask.nrrd'.")] = "*",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, for the report and for RTSTRUCT.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder of probabilities, for metrics that need them.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of a cohort, only this split; the cases that were predicted if left out."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cluster: Annotated[
        str | None, typer.Option(help="local or tcp://host:8786 (Dask), ray or ray://host:10001.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Score finished cases again.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report, e.g. report.html.")] = None,
) -> None:
    """Score predictions of any tool, case by case and label by label.

    Writes metrics.csv, cases.csv, summary.json, run.json and, where they say something, lesions.csv and
    failures.csv; prints the summary. A killed run goes on where it stopped.
    """
    options = {
        "metrics": metrics, "labels": labels, "missing": missing, "resample": resample, "by_value": by_value,
        "tolerance_mm": tolerance,
    }  # fmt: skip
    chosen = settings_of(settings, options, lesions)
    filters = Filters(match, prediction_files, reference_files, images, scores)
    default = predictions if predictions.is_dir() else predictions.parent
    folder = default / "evaluation" if out is None else out
    refuse_own_folder(folder, predictions, reference)
    expect_file_to_write(report)
    work = work_of(predictions, reference, data, split, chosen, filters)
    failed = score(work, folder, chosen, settings, jobs=jobs, cluster=cluster, restart=restart)
    if report is not None:
        write_page(report, {name_of(folder): folder})
    if failed:
        raise typer.Exit(SOME_FAILED)


def refuse_own_folder(out: Path, *inputs: Path | None) -> None:
    """Results do not go among what they are of: they would replace its run.json, and be read with it."""
    for place in inputs:
        if place is not None and place.exists() and out.resolve() == place.resolve():
            raise SettingsError(
                "The results would go into the folder that they are of.",
                got=f"--out {out}",
                remedy=f"--out {out / 'evaluation'}, or any other folder",
            )


def name_of(folder: Path) -> str:
    """What an evaluation is called: its folder's name, or its parent's where that says nothing.

    Examples
    --------
    >>> name_of(Path("eval/ours")), name_of(Path("preds/evaluation"))
    ('ours', 'preds')
    """
    place = folder.resolve()
    return place.parent.name if place.name == "evaluation" else place.name
