"""``truevox compare``: which method is better, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.comparison_text import report as text_of
from truevox.cli.running import SOME_FAILED, expect_file_to_write, say, write_page
from truevox.cli.scoring import Filters, score, settings_of, work_of

if TYPE_CHECKING:
    from truevox.evaluation.settings import EvaluationSettings

__all__ = ["compare"]


def compare(
    evaluations: Annotated[
        list[str],
        typer.Argument(
            help="Folders of truevox evaluate, or name=folder; with --references, folders of predictions; "
            "or one table of a challenge."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("comparison"),
    references: Annotated[
        Path | None, typer.Option(help="Evaluate first, against this folder; --metrics and --labels define.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="With --references: settings of the evaluation (YAML).")
    ] = None,
    by_value: Annotated[
        bool | None,
        typer.Option("--by-value", help="With --references: names of labels in files do not count."),
    ] = None,
    resample: Annotated[
        bool | None,
        typer.Option("--resample", help="With --references: read predictions on the references' grids."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="With --references: processes.")] = 1,
    metrics: Annotated[str | None, typer.Option(help="Only these, e.g. dice,hd95.")] = None,
    labels: Annotated[str | None, typer.Option(help="Only these, e.g. tumour,liver.")] = None,
    unit: Annotated[
        str, typer.Option(help="'patient': all cases of a patient belong together; or 'case'.")
    ] = "patient",
    patients: Annotated[
        Path | None, typer.Option(help="Table case,patient; the case up to its first / if left out.")
    ] = None,
    test: Annotated[
        str, typer.Option(help="permutation (of the mean), wilcoxon, t, sign, mcnemar.")
    ] = "permutation",
    correction: Annotated[str, typer.Option(help="Over all p-values: holm, fdr, none.")] = "holm",
    missing: Annotated[
        str, typer.Option(help="A missing value is the 'worst' there is, or its case is left out: 'drop'.")
    ] = "worst",
    margin: Annotated[
        list[str] | None, typer.Option(help="Test equivalence, e.g. dice=0.02; may be repeated.")
    ] = None,
    rank: Annotated[
        str,
        typer.Option(
            help="Ranking whose stability is shown: mean_then_rank, median_then_rank, rank_then_mean, "
            "rank_then_median, test_then_rank."
        ),
    ] = "mean_then_rank",
    interval: Annotated[
        str, typer.Option(help="t, as everywhere; or of the bootstrap, too short for few: percentile, bca.")
    ] = "t",
    human: Annotated[
        str | None, typer.Option(help="The evaluation of a rater against another: who is within its range?")
    ] = None,
    better: Annotated[
        list[str] | None,
        typer.Option(help="Direction of a metric of your own: name=higher, =lower, =zero; may be repeated."),
    ] = None,
    case: Annotated[
        str, typer.Option(help="Of a table: column(s) of the case, e.g. patient,slice.")
    ] = "case",
    method: Annotated[str, typer.Option(help="Of a table: column of the method.")] = "method",
    value: Annotated[str, typer.Option(help="Of a table: column of the value.")] = "value",
    task: Annotated[str | None, typer.Option(help="Of a table: column of the task or label.")] = None,
    patient: Annotated[str | None, typer.Option(help="Of a table: column of the patient.")] = None,
    lower_better: Annotated[
        bool, typer.Option("--lower-better", help="Of a table: small values are good.")
    ] = False,
    value_range: Annotated[
        str | None, typer.Option("--range", help="Of a table: range of the value, e.g. 0:1.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap samples of differences.")] = 10_000,
    rank_resamples: Annotated[int, typer.Option(min=1, help="Bootstrap samples of rankings.")] = 1000,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1, help="Random flips of the permutation test; as many as all tests ask for if left out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.")] = 0,
    figures: Annotated[bool, typer.Option(help="Write figures.")] = True,
    report: Annotated[Path | None, typer.Option(help="Write a report, e.g. report.html.")] = None,
) -> None:
    """Compare several methods on the same cases: tests, intervals, effects, equivalence, rankings.

    With --references the arguments are folders of predictions, and are evaluated first, into
    OUT/evaluations.
    Writes comparison.csv, ranking.csv, agreement.csv, comparison.json, run.json and figures; prints the
    ranking and the differences.
    """
    from truevox.cli.record import recorded
    from truevox.evaluation import compare as compare_evaluations
    from truevox.evaluation import compare_table
    from truevox.evaluation.comparison.score_tables import read_patients

    common: dict[str, Any] = {
        "test": test, "correction": correction, "missing": missing, "margins": margins_of(margin or []),
        "scheme": rank, "interval": interval, "resamples": resamples, "rank_resamples": rank_resamples,
        "draws": draws, "seed": seed,
    }  # fmt: skip
    expect_file_to_write(report)
    table = table_of(evaluations)
    columns = {"case": case, "method": method, "value": value, "task": task, "patient": patient}
    places = named(evaluations) if table is None else {}
    failed = 0
    if references is not None:
        options = {"metrics": metrics, "labels": labels, "resample": resample, "by_value": by_value}
        places, failed = evaluated(places, references, out, settings_of(settings, options), settings, jobs)
        metrics = labels = None
    if table is None:
        inputs = {name: file for name, place in places.items() if (file := metrics_file(place)).is_file()}
        inputs |= {} if patients is None else {"patients": patients}
        chosen = {
            "metrics": split(metrics), "labels": split(labels), "unit": unit, "human": human,
            "better": dict(pair(text, "better", "dice=higher") for text in better or []),
        }  # fmt: skip
        written = {"evaluations": places, **chosen}
    else:
        refuse_for_tables({
            "metrics": metrics, "labels": labels, "patients": patients, "human": human, "better": better,
            "report": report, "references": references, "by_value": by_value,
        })  # fmt: skip
        low, high = range_of(value_range)
        inputs = {"table": table}
        chosen = {**columns, "better": "lower" if lower_better else "higher", "low": low, "high": high}
        written = {"table": str(table), **chosen}
    with recorded(out / "run.json", "compare", {**written, **common}, inputs) as record:
        if table is None:
            owners = None if patients is None else read_patients(patients)
            found = compare_evaluations(places, patients=owners, **chosen, **common)
        else:
            found = compare_table(table, **chosen, **common)
        files = found.write(out, figures=figures)
        record.update(warnings=list(found.warnings), files=[file.name for file in files])
    for text in found.warnings:
        say(f"Note: {text}")
    typer.echo(text_of(found))
    pictures = sum(file.suffix == ".png" for file in files)
    say(f"Tables and {pictures} figure{'s' * (pictures != 1)} are in {out}.")
    if report is not None:
        write_page(report, places, out)
    if failed:
        raise typer.Exit(SOME_FAILED)


def evaluated(
    predictions: Mapping[str, Path],
    references: Path,
    out: Path,
    chosen: EvaluationSettings,
    file: Path | None,
    jobs: int,
) -> tuple[dict[str, Path], int]:
    """Folders of the evaluations of some folders of predictions, and how many cases failed."""
    places, failed = {}, 0
    for name, folder in predictions.items():
        say(f"== {name}")
        places[name] = out / "evaluations" / name
        work = work_of(folder, references, None, None, chosen, Filters())
        failed += score(work, places[name], chosen, file, jobs=jobs)
    return places, failed


# ---- what was asked ---------------------------------------------------------------------------


def table_of(arguments: Sequence[str]) -> Path | None:
    """The table, if it is one file and not an evaluation.

    Raises
    ------
    FileError
        If it is called as a file is, and is not there.
    """
    from truevox.errors import FileError

    alone = Path(arguments[0]) if len(arguments) == 1 else None
    if alone is not None and alone.suffix and not alone.exists():
        raise FileError(
            "There is no such table.", file=alone, remedy="check the path, from the folder that you are in"
        )
    return alone if alone is not None and alone.is_file() else None


def metrics_file(place: Path) -> Path:
    """Where the metrics of an evaluation are."""
    return place / "metrics.csv" if place.is_dir() else place


def named(arguments: Sequence[str]) -> dict[str, Path]:
    """Folders by name: the given one, or the folder's own, or its parent's where those are alike.

    Raises
    ------
    SettingsError
        If two have the same name.

    Examples
    --------
    >>> list(named(["a/evaluation", "b/evaluation", "old=c"]))
    ['a', 'b', 'old']
    """
    from truevox.errors import SettingsError

    found: list[tuple[str, Path]] = []
    for text in arguments:
        name, equals, rest = text.partition("=")
        given = bool(equals and name and rest and not Path(text).exists())
        found.append((name, Path(rest)) if given else ("", Path(text)))
    own = Counter(place.resolve().name for name, place in found if not name)
    names = [
        name or (place.resolve().name if own[place.resolve().name] == 1 else place.resolve().parent.name)
        for name, place in found
    ]
    for name, count in Counter(names).items():
        if count > 1:
            raise SettingsError(
                f"{count} evaluations are called '{name}'.",
                remedy="give them names: truevox compare first=folder second=folder",
            )
    return {name: place for name, (_, place) in zip(names, found, strict=True)}


def split(text: str | None) -> list[str] | None:
    """Words between commas.

    Examples
    --------
    >>> split("dice, hd95")
    ['dice', 'hd95']
    """
    return [word.strip() for word in text.split(",") if word.strip()] if text else None


def pair(text: str, option: str, example: str) -> tuple[str, str]:
    """Both sides of ``name=value``.

    Raises
    ------
    SettingsError
        If there are no two sides.
    """
    from truevox.errors import SettingsError

    name, _, value = text.partition("=")
    if not (name and value):
        raise SettingsError(f"--{option} can't be read.", got=text, expected=f"for instance {example}")
    return name.strip(), value.strip()


def margins_of(texts: Sequence[str]) -> dict[str, float]:
    """Margins by metric.

    Raises
    ------
    SettingsError
        If one is no number.

    Examples
    --------
    >>> margins_of(["dice=0.02"])
    {'dice': 0.02}
    """
    from truevox.errors import SettingsError

    found = {}
    for name, value in (pair(text, "margin", "dice=0.02") for text in texts):
        try:
            found[name] = float(value)
        except ValueError:
            raise SettingsError(
                f"The margin of '{name}' is no number.", got=value, expected="for instance dice=0.02"
            ) from None
    return found


def range_of(text: str | None) -> tuple[float, float]:
    """Both ends of ``low:high``; an empty one is infinite.

    Raises
    ------
    SettingsError
        If they are no numbers in order.

    Examples
    --------
    >>> range_of("0:1"), range_of("0:")
    ((0.0, 1.0), (0.0, inf))
    """
    from truevox.errors import SettingsError

    low, colon, high = (text or ":").partition(":")
    try:
        found = float(low or "-inf"), float(high or "inf")
    except ValueError:
        found = math.nan, math.nan
    if not colon or not found[0] < found[1]:
        raise SettingsError("--range can't be read.", got=text, expected="for instance 0:1 or 0:")
    return found


def refuse_for_tables(options: Mapping[str, object]) -> None:
    """Refuse options that say nothing of a table.

    Raises
    ------
    SettingsError
        If one was given.
    """
    from truevox.errors import SettingsError

    for name, value in options.items():
        if value:
            raise SettingsError(
                f"--{name} is for evaluations, not for a table.", got=value, remedy="leave it out"
            )
