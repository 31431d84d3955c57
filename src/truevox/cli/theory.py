"""``truevox theory``: the volume bias to expect of a loss, from the masks of several raters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from truevox.cli.running import SOME_FAILED, say

if TYPE_CHECKING:
    from truevox.evaluation import RaterBias, RaterVolumes

__all__ = ["theory"]


def theory(
    cohort: Annotated[
        Path, typer.Argument(help="Table of the cases: a column per rater, or a row per rater.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("theory"),
    raters: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,...", help="Columns of the raters; all columns of files if left out."),
    ] = None,
    label: Annotated[
        int | None, typer.Option(min=1, help="Value of the structure; if left out, masks have one.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="dice, jaccard, squared_dice, or another that `truevox.theory` names.")
    ] = "dice",
    patient: Annotated[
        str | None, typer.Option(help="Column that names the patient, if cases are less than patients.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest displacement between grids, in mm.")] = 1e-3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Say how large a volume bias to expect of soft Dice where these raters disagree.

    Writes theory.csv (a row per case and rule), theory.png, run.json and, if a case failed, failures.csv;
    prints the summary.
    """
    from truevox.cli.data import described_by, load_cohort
    from truevox.cli.predict import write_failures
    from truevox.cli.record import recorded
    from truevox.evaluation import RATER_VOLUME_COLUMNS, rater_volumes
    from truevox.evaluation.cases import FAILURE_COLUMNS
    from truevox.evaluation.rater_figure import plot_rater_volumes
    from truevox.files import write_csv
    from truevox.progress import progress
    from truevox.theory import criterion_of

    criterion_of(loss)
    cases = load_cohort(cohort)
    columns = [name.strip() for name in raters.split(",")] if raters else None
    settings = {
        "raters": columns,
        "label": label,
        "loss": loss,
        "patient": patient,
        "tolerance_mm": tolerance,
    }
    with recorded(out / "run.json", "theory", settings, described_by(cohort)) as record:
        with progress("Asking the raters", None) as advance:
            found = rater_volumes(
                cases,
                columns,
                label=label,
                patient=patient,
                loss=loss,
                tol_mm=tolerance,
                n_jobs=jobs,
                advance=advance,
            )
        write_csv(out / "theory.csv", found.rows, RATER_VOLUME_COLUMNS)
        write_failures(out / "failures.csv", [f.as_row() for f in found.failures], FAILURE_COLUMNS)
        plot_rater_volumes(out / "theory.png", found)
        record.update(
            summary=[one.as_row() for one in found.summary], failed=[f.case for f in found.failures]
        )
    show(found, out)
    if found.failures:
        count = len(found.failures)
        say(f"{count} case{'s' * (count > 1)} failed, see {out / 'failures.csv'}")
        raise typer.Exit(SOME_FAILED)


def show(found: RaterVolumes, out: Path) -> None:
    """The summary: a drawn table on standard output, and what was left out on standard error."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from truevox.evaluation.rater_figure import law_name, loss_name

    first = found.summary[0]
    title = f"{first.cases} cases, expected volume {first.expected_volume_ml:.4g} ml in the mean"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    for name in ("best for", "given"):
        table.add_column(name, no_wrap=True)
    for name in ("bias (ml)", "95 % interval", "bias (%)"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.summary:
        table.add_row(
            loss_name(one.loss, one.search),
            law_name(one.law, one.search),
            f"{one.bias_ml:+.3g}",
            _interval(one),
            f"{one.relative_bias_percent:+.1f}",
        )
    Console().print(table)
    if empty := len({row["case"] for row in found.rows if row["status"] == "undefined"}):
        say(f"{empty} case{'s' * (empty > 1)} that no rater marked {'are' if empty > 1 else 'is'} left out.")
    say(f"All cases: {out / 'theory.csv'}; figure: {out / 'theory.png'}")


def _interval(one: RaterBias) -> str:
    return "" if math.isnan(one.ci_low_ml) else f"{one.ci_low_ml:+.3g} to {one.ci_high_ml:+.3g}"
