"""What is to be scored, scoring it, and what is said of that: for ``truevox evaluate`` and ``compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from truevox.cli.running import say

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.evaluation import Failure, Summary
    from truevox.evaluation.folders import Matched
    from truevox.evaluation.jobs import Job
    from truevox.evaluation.settings import EvaluationSettings
    from truevox.origin import Origin

__all__ = ["Filters", "Work", "score", "settings_of", "work_of"]

FEW = 20
"""Patients below which it is said what an interval can't know."""


def settings_of(file: Path | None, options: dict[str, Any], lesions: str | None = None) -> EvaluationSettings:
    """The settings of a file, with what was given on the command line on top, checked."""
    from truevox.evaluation.settings import EvaluationSettings

    given = {name: value for name, value in options.items() if value is not None}
    found = EvaluationSettings.make(given) if file is None else EvaluationSettings.from_file(file, **given)
    if lesions is not None:
        rule = {} if found.lesions is None else found.lesions.model_dump()
        found = found.make({**found.model_dump(), "lesions": {**rule, "rule": lesions}})
    found.check()
    return found


# ---- what is to be scored ------------------------------------------------------------------


@dataclass(frozen=True)
class Filters:
    """How files of two folders are chosen and matched."""

    match: str | None = None
    predictions: str = "*"
    references: str = "*"
    images: Path | None = None
    scores: Path | None = None


@dataclass(frozen=True)
class Work:
    """What is to be scored, and where that is said."""

    matched: Matched
    source: Path
    inputs: dict[str, Path]
    labels_from: str
    asked: dict[str, Any]
    origins: Mapping[str, Origin] = field(default_factory=dict)


def work_of(
    predictions: Path,
    reference: Path | None,
    data: Path | None,
    split: str | None,
    settings: EvaluationSettings,
    filters: Filters,
) -> Work:
    """Cases of a table, of a cohort or of two folders.

    Raises
    ------
    SettingsError
        If options do not go together.
    """
    from truevox.cli.data import one_cohort
    from truevox.errors import FileError, SettingsError
    from truevox.evaluation.cases import labelled
    from truevox.evaluation.folders import match_folders, read_pairs
    from truevox.evaluation.label_tables import beside, choose_labels
    from truevox.files import expect_folder

    asked = {
        "predictions": str(predictions), "split": split, "match": filters.match,
        "prediction_files": filters.predictions, "reference_files": filters.references,
        "images": filters.images, "scores": filters.scores,
    }  # fmt: skip
    if predictions.is_file() and reference is None and data is None:
        choice = choose_labels(settings.labels)
        return Work(
            labelled(read_pairs(predictions), choice),
            predictions,
            {"table": predictions},
            choice.source,
            asked,
        )
    if reference is None and data is None:
        expect_folder(predictions)
        raise SettingsError(
            "There is nothing to compare the predictions with.",
            got=str(predictions),
            expected="a folder of references, or a cohort",
            remedy="truevox evaluate PREDICTIONS REFERENCES; or a table with case,prediction,reference",
        )
    source = one_cohort(reference, data)
    if not source.exists():
        raise FileError(
            "There is no such folder or table of references.", file=source, remedy="check the path"
        )
    if source.is_file() and not (predictions / "labels.json").is_file():
        expect_folder(predictions)
        raise FileError(
            "References are a folder, unless `truevox predict` made the predictions.",
            file=source,
            remedy="give the folder of the references, or one table with case,prediction,reference alone",
        )
    if data is not None or is_cohort(predictions, source):
        return cohort_work(predictions, source, split, settings, asked)
    if split is not None:
        raise SettingsError(
            "A folder of references has no splits.",
            got=f"--split {split}",
            remedy="leave --split out, or name the cohort's table, which has a column 'split'",
        )
    matched = match_folders(
        predictions, source, images=filters.images, scores=filters.scores, pattern=filters.match,
        prediction_files=filters.predictions, reference_files=filters.references,
    )  # fmt: skip
    choice = choose_labels(settings.labels) if settings.labels is not None else beside(predictions, source)
    if settings.labels is None:
        say(
            f"Labels of {choice.source}." if choice.source else "Labels: the values that occur; see --labels."
        )
    matched = labelled(matched, choice)
    ours = choice.source == str(predictions / "labels.json")
    if filters.scores is None and ours:
        matched = replace(matched, jobs=[with_probabilities(job) for job in matched.jobs])
    return Work(matched, source, {}, choice.source, asked, origins_of(predictions) if ours else {})


def origins_of(predictions: Path) -> dict[str, Origin]:
    """What the predictions were made with, if they have one output: of two folders it has no name."""
    from truevox.evaluation.jobs import OUTPUT
    from truevox.measures import read_outputs

    found = [one.origin for one in read_outputs(predictions).values() if one.origin is not None]
    return {OUTPUT: found[0]} if len(found) == 1 else {}


def with_probabilities(job: Job) -> Job:
    """A job of ``truevox predict``'s label map, with the probabilities that were kept beside it."""
    from truevox.cohort.found import without_suffix
    from truevox.measures.outputs import find_output

    if job.prediction is None:
        return job
    name = without_suffix(job.prediction.name)
    return replace(job, score=find_output(job.prediction.parent, f"{name}_probabilities"))


def is_cohort(predictions: Path, source: Path) -> bool:
    """Whether the references are a cohort: a table, or a data set for predictions of ``truevox predict``."""
    from truevox.cohort.opening import recognise
    from truevox.errors import TrueVoxError

    if not source.is_dir():
        return True
    if not (predictions / "labels.json").is_file():
        return False
    try:
        return bool(recognise(source))
    except TrueVoxError:
        return False


def cohort_work(
    predictions: Path, source: Path, split: str | None, settings: EvaluationSettings, asked: dict[str, Any]
) -> Work:
    """What ``truevox predict`` wrote, against the references of a cohort."""
    from truevox.cli.data import described_by
    from truevox.evaluation.cases import cohort_jobs, labelled
    from truevox.evaluation.folders import Matched
    from truevox.evaluation.label_tables import choose_labels
    from truevox.measures import read_outputs

    outputs = read_outputs(predictions)
    cases = chosen(predictions, source, split, [str(o.reference) for o in outputs.values()])
    matched = Matched(cohort_jobs(predictions, cases, outputs))
    if settings.labels is not None:
        matched = labelled(matched, choose_labels(settings.labels))
    inputs = described_by(source) | {"labels": predictions / "labels.json"}
    origins = {name: one.origin for name, one in outputs.items() if one.origin is not None}
    return Work(matched, source, inputs, str(predictions / "labels.json"), asked, origins)


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


# ---- scoring it --------------------------------------------------------------------------------


def score(
    work: Work,
    folder: Path,
    settings: EvaluationSettings,
    file: Path | None = None,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    restart: bool = False,
) -> int:
    """Score, write the folder of the evaluation, and say what came out; how many failed."""
    from truevox.cli.record import recorded
    from truevox.evaluation.resume import Kept
    from truevox.evaluation.running import check_jobs, score_all
    from truevox.evaluation.tables import remarks, write_evaluation
    from truevox.progress import progress

    check_jobs(work.matched.jobs, settings)
    if work.matched.said:
        say(work.matched.said)
    written = {
        **work.asked, "references": str(work.source), "evaluation": settings.model_dump(mode="json"),
    }  # fmt: skip
    inputs = work.inputs | ({} if file is None else {"settings": file})
    listed = work.matched.jobs
    with (
        recorded(folder / "run.json", "evaluate", written, inputs) as record,
        progress("Scoring", len(listed)) as advance,
    ):
        kept = Kept(folder / "resume.jsonl", fresh=restart)
        found = score_all(listed, settings, n_jobs=jobs, cluster=cluster, kept=kept, advance=advance)
        found = replace(found, failures=[*found.failures, *work.matched.failures])
        totals = write_evaluation(folder, found, settings.lesion_rule is not None)
        odd = remarks(found)
        record.update(
            cases=list(dict.fromkeys(job.case for job in listed)),
            failed=[one.case for one in found.failures],
            labels=found.labels,
            labels_from=work.labels_from,
            matching=dict(work.matched.record),
            remarks=odd,
            origins={name: one.to_dict() for name, one in work.origins.items()},
        )
    for text in [*odd, *origin_notes(totals, work.origins)]:
        say(f"Note: {text}")
    typer.echo(table(totals))
    if text := unseen(totals):
        say(f"Note: {text}")
    if found.failures:
        say(f"{len(found.failures)} failed, see {folder / 'failures.csv'}:\n  {reasons(found.failures)}")
    return len(found.failures)


# ---- what is said ----------------------------------------------------------------------------


def table(totals: Sequence[Summary]) -> str:
    """The summary as a plain table: means of all scans, intervals by patient."""
    rows = [("label", "metric", "unit", "mean", "95 % interval", "median", "n", "of which, or left out")]
    keys = {(s.output, s.label) for s in totals}
    joint = len({label for _, label in keys}) < len(keys)  # two outputs have a label of one name
    for s in totals:
        label = f"{s.output}/{s.label}" if joint else s.label
        interval = (
            f"{number(s.ci_low)} to {number(s.ci_high)}" if not s.no_interval else f"none: {s.no_interval}"
        )
        counts = {
            "undefined": s.n_undefined, "missed": s.n_missed, "spurious": s.n_spurious, "failed": s.n_failed,
        }  # fmt: skip
        rest = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        if s.n_left_out:
            rest += f"; {s.n_left_out} left out"
        rows.append((label, s.metric, s.unit, number(s.mean), interval, number(s.median), s.counted, rest))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def origin_notes(totals: Sequence[Summary], origins: Mapping[str, Origin]) -> list[str]:
    """Where the volumes of each label come from, as far as their model is known."""
    found: dict[str, None] = {}
    for one in totals:
        origin, (stem, _, way) = origins.get(one.output), one.definition.partition("/")
        if origin is not None and "volume" in stem and stem != "reference_volume":
            kind = "Expected volumes" if way.startswith("expected") else "Volumes of masks"
            note = origin.note(one.label, "expected" if way.startswith("expected") else "threshold")
            found[f"{kind} of {one.label} are of {note}."] = None
    return list(found)


def unseen(totals: Sequence[Summary]) -> str:
    """What intervals of few patients can't know; empty where there are many, or some were missed.

    Examples
    --------
    >>> unseen([])
    ''
    """
    few = [s.patients for s in totals if not s.no_interval and s.patients < FEW]
    if not few or any(s.n_missed for s in totals):
        return ""
    # The rule of three: at the upper end, 0.95 of samples of n have none of what is in 3 / n of all.
    return (
        f"intervals of {min(few)} patients know nothing of missed cases, of which they have none: up to "
        f"{min(1.0, 3 / min(few)):.0%} of all cases could be missed. See docs/intervals.md."
    )


def reasons(failures: Sequence[Failure]) -> str:
    """What was wrong, how often, and what to do."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in failures:
        text = one.message.splitlines()[0].partition(" (")[0].replace(f" of case {one.case}", "")
        found.setdefault((text, one.remedy), []).append(one.case)
    most = sorted(found.items(), key=lambda pair: -len(pair[1]))
    lines = [
        f"{len(cases)} x {text} {some(cases)}" + (f"\n      Remedy: {remedy}" if remedy else "")
        for (text, remedy), cases in most[:5]
    ]
    return "\n  ".join([*lines, *(["..."] if len(most) > 5 else [])])


def some(cases: Sequence[str]) -> str:
    """The first of them."""
    return f"({', '.join(cases[:3])}{', ...' if len(cases) > 3 else ''})"


def number(value: float) -> str:
    """Four significant digits."""
    return "nan" if math.isnan(value) else f"{value:.4g}"
