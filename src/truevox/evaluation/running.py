"""All cases: scored side by side, kept as they finish, and put in order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import joblib
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from truevox.errors import CaseError, SettingsError
from truevox.evaluation.cluster import workers
from truevox.evaluation.jobs import Evaluation, Job, Result
from truevox.evaluation.label_tables import FOREGROUND
from truevox.evaluation.masks import order
from truevox.evaluation.resume import Kept, fingerprint
from truevox.evaluation.scoring import score
from truevox.evaluation.settings import EvaluationSettings
from truevox.files import software
from truevox.metrics import Definition
from truevox.metrics.pixels import SUFFIX, in_pixels
from truevox.progress import Advance

__all__ = ["assemble", "check_jobs", "score_all"]

_AREAS = ("px²", "px³")
_CHUNK = 8
"""Cases per worker that are handed out at once, where a cluster gives nothing back before all are done."""


def score_all(
    jobs: Sequence[Job],
    settings: EvaluationSettings,
    *,
    n_jobs: int = 1,
    cluster: str | None = None,
    kept: Kept | None = None,
    advance: Advance | None = None,
) -> Evaluation:
    """Score every job. None ends the others; finished ones are kept.

    Parameters
    ----------
    jobs : sequence of Job
    settings : EvaluationSettings
    n_jobs : int
        Processes; each holds one case.
    cluster : str, optional
        As for :func:`truevox.evaluation.cluster.workers`.
    kept : Kept, optional
        Where results of finished cases are, and go.
    advance : callable, optional
        Told how many cases are done, and the last one's name.

    Returns
    -------
    Evaluation
        Rows in the order of the jobs, whichever finished first.

    Raises
    ------
    SettingsError
        If a metric does not exist, or a cluster can't be used.
    CaseError
        If a process was killed; what finished is kept.
    """
    check_jobs(jobs, settings)
    keys = [fingerprint(job, settings) for job in jobs]
    found: dict[int, Result] = {}
    if kept is not None:
        found = {k: result for k, key in enumerate(keys) if (result := kept.get(key)) is not None}
    todo = [(k, job) for k, job in enumerate(jobs) if k not in found]
    done = len(found)
    for k, result in _results(todo, settings, n_jobs, cluster):
        found[k] = result
        done += 1
        # What failed is tried again next time.
        if kept is not None and result.failure is None:
            kept.add(keys[k], result)
        if advance is not None:
            advance(done, jobs[k].case)
    if kept is not None:
        kept.tidy(keys)
    return assemble(jobs, [found[k] for k in range(len(jobs))], settings)


def check_jobs(jobs: Sequence[Job], settings: EvaluationSettings) -> None:
    """Refuse what can't be scored of any case, before a file is read.

    Raises
    ------
    SettingsError
        If a metric, rule or label does not exist, or no case has the probabilities that a metric needs.
    """
    settings.check()
    tables = [job.labels for job in jobs if job.labels is not None]
    if tables and len(tables) == len(jobs):
        settings.check_labels(dict.fromkeys(name for table in tables for name in table.names))
    if (odd := settings.of_probabilities) and not any(job.score for job in jobs):
        raise SettingsError(
            f"No case has probabilities, which {', '.join(odd)} need.",
            remedy="--scores FOLDER, or the column score of a table; or leave these metrics out",
        )


def _one(k: int, job: Job, settings: EvaluationSettings) -> tuple[int, Result]:
    return k, score(job, settings)


def _results(
    todo: Sequence[tuple[int, Job]], settings: EvaluationSettings, n_jobs: int, cluster: str | None
) -> Iterator[tuple[int, Result]]:
    """Results as they come."""
    if not todo:
        return
    with workers(cluster, n_jobs) as count:
        work = [delayed(_one)(k, job, settings) for k, job in todo]
        try:
            if _streams():
                yield from Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1)(work)  # type: ignore[misc]
                return
            size = _CHUNK * joblib.effective_n_jobs(count)
            for chunk in _chunks(work, size):
                yield from Parallel(n_jobs=count)(chunk)  # type: ignore[misc]
        except TerminatedWorkerError as error:
            raise CaseError(
                "A process that scored cases was killed, most likely for its memory.",
                remedy="run the same command again with fewer --jobs: finished cases are not scored again",
            ) from error


def _chunks(work: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (work[k : k + size] for k in range(0, len(work), size))


def _streams() -> bool:
    """Whether the backend in use hands back results as they come."""
    backend: Any = joblib.parallel.get_active_backend()[0]
    return bool(backend.supports_return_generator)


# ---- putting together ----------------------------------------------------------------------


def assemble(jobs: Sequence[Job], results: Sequence[Result], settings: EvaluationSettings) -> Evaluation:
    """Tables in the order of the jobs: every case has a row for every label and metric.

    Where no table says which labels there are, they are those that occur anywhere; a single value is called
    ``foreground``.
    """
    names = _labels(jobs, results)
    unit = _unit(results)
    rows: list[dict[str, Any]] = []
    lesions: list[dict[str, Any]] = []
    for job, result in zip(jobs, results, strict=True):
        listed = names[job.output] if job.labels is None else {name: name for name in job.labels.names}
        for shown, name in listed.items():
            values = result.values.get(name) or result.absent.get(name) or result.absent.get("")
            rows += _rows(job, shown, values or _failed(settings, name, unit), unit)
        back = {name: shown for shown, name in listed.items()}
        lesions += [row | {"label": back[row["label"]]} for row in result.lesions]
    failures = [result.failure for result in results if result.failure is not None]
    cases = [job.as_row(result) for job, result in zip(jobs, results, strict=True)]
    return Evaluation(rows, failures, lesions, cases, _values(jobs, names))


def _unit(results: Sequence[Result]) -> str:
    """Of all volumes: pixels where no case has millilitres; ``""`` where some have, and some have not."""
    units = {result.unit for result in results if result.values or result.absent}
    if "ml" in units:
        return "ml" if len(units) == 1 else ""
    return "px³" if len(units) > 1 else next(iter(units), "ml")


def _labels(jobs: Sequence[Job], results: Sequence[Result]) -> dict[str, dict[str, str]]:
    """For each output, the labels that occur: what they are called, and their name in the results."""
    found: dict[str, set[str]] = {}
    for job, result in zip(jobs, results, strict=True):
        found.setdefault(job.output, set()).update(result.values if job.labels is None else ())
    out = {}
    for output, names in found.items():
        alone = len(names) < 2 and all(name.isdigit() for name in names)
        out[output] = (
            {FOREGROUND: next(iter(names), "")} if alone else {n: n for n in sorted(names, key=order)}
        )
    return out


def _values(jobs: Sequence[Job], names: dict[str, dict[str, str]]) -> dict[str, dict[str, list[int]]]:
    """Values of the labels, as far as they are known, for who opens the files again; none: all but 0."""
    out: dict[str, dict[str, list[int]]] = {}
    for job in jobs:
        if job.output in out:
            continue
        if job.labels is not None:
            values = {name: list(job.labels.values_of(name)) for name in job.labels.names}
            out[job.output] = {name: [] for name in values} if job.binary else values
        else:
            found = names[job.output].items()
            out[job.output] = {
                shown: [int(name)] if shown != FOREGROUND else [] for shown, name in found if name.isdigit()
            }
    return out


def _rows(job: Job, label: str, values: Sequence[Sequence[Any]], volumes: str) -> list[dict[str, Any]]:
    """Rows of ``metrics.csv``. Beside values in mm, pixels keep a name of their own: no mean is of both."""
    counted = volumes not in ("ml", "")
    return [
        {
            "case": job.case, "label": label, "metric": metric.removesuffix(SUFFIX) if counted else metric,
            "value": value, "unit": volumes if counted and unit in _AREAS else unit,
            "status": status, "definition": definition, "output": job.output, "patient": job.owner,
            "when_empty": rest[0] if rest else None, "software": software(),
        }
        for metric, value, unit, status, definition, *rest in values
    ]  # fmt: skip


def _failed(settings: EvaluationSettings, label: str, volumes: str) -> list[list[Any]]:
    wanted = settings.definitions(label)
    if volumes not in ("ml", ""):
        wanted = [_in_pixels(one) for one in wanted]
    return [[one.name, math.nan, one.unit, "failed", one.id] for one in wanted]


def _in_pixels(metric: Definition) -> Definition:
    try:
        return in_pixels(metric)
    except SettingsError:  # it is in pixels, or can't be
        return metric
